// What surrounds a widget in VS Code, as far as it can be had without VS Code: its Jupyter extension's widget manager
// (`@vscode/jupyter-ipywidgets8`), on a kernel connection of JupyterLab's, as there, with the classes and variables
// that a notebook's outputs see. `host.run(code)` runs a cell; `host.stored` is what a saved notebook would hold.
import { ServerConnection } from "@jupyterlab/services";
import { KernelConnection } from "@jupyterlab/services/lib/kernel/default.js";

const WIDGET = "application/vnd.jupyter.widget-view+json";
const asked = new URLSearchParams(location.search);
const isDark = asked.get("theme") === "dark";

// The two default themes of VS Code.
const VARIABLES = isDark
  ? {
      "editor-background": "#1f1f1f",
      "editor-foreground": "#cccccc",
      foreground: "#cccccc",
      "panel-border": "#2b2b2b",
      "input-background": "#313131",
      "notebook-cellEditorBackground": "#1f1f1f",
      focusBorder: "#0078d4",
    }
  : {
      "editor-background": "#ffffff",
      "editor-foreground": "#3b3b3b",
      foreground: "#3b3b3b",
      "panel-border": "#e5e5e5",
      "input-background": "#ffffff",
      "notebook-cellEditorBackground": "#f8f8f8",
      focusBorder: "#005fb8",
    };
const style = document.documentElement.style;
for (const [name, value] of Object.entries(VARIABLES)) style.setProperty(`--vscode-${name}`, value);
style.setProperty("--vscode-font-family", "system-ui, sans-serif");
style.setProperty("--vscode-font-size", "13px");
style.setProperty("--vscode-editor-font-family", "monospace");
style.setProperty("--vscode-editor-font-size", "13px");
document.body.className = isDark ? "vscode-dark" : "vscode-light";
document.body.dataset.vscodeThemeKind = document.body.className;

const settings = ServerConnection.makeSettings({
  baseUrl: `http://127.0.0.1:${asked.get("port")}/`,
  wsUrl: `ws://127.0.0.1:${asked.get("port")}/`,
  token: asked.get("token"),
  appendToken: true,
});
const kernel = new KernelConnection({
  model: { id: asked.get("kernel"), name: "python3" },
  serverSettings: settings,
  handleComms: true,
});

const { activate } = await import("./ipywidgets.js");
activate();
window.vscIPyWidgets8.load();
window.requirejs.config({ paths: { anywidget: new URL("./anywidget", location.href).href } });
const problems = [];
const manager = new window.vscIPyWidgets.WidgetManager(
  kernel,
  document.body,
  {
    widgetsRegisteredInRequireJs: new Set(["anywidget"]),
    loadWidgetScript: async (name) => problems.push(`${name} was asked for`),
    successHandler: () => {},
    errorHandler: (name, module, version, error) => problems.push(`${module}.${name} ${version}: ${error}`),
  },
  () => {},
);

function output() {
  const cell = document.createElement("div");
  cell.className = "cell-output-ipywidget-background";
  document.body.append(cell);
  return cell;
}

/** Shows an output as a notebook's cell would: the widget where its model is there, else the HTML. */
async function show(data) {
  const cell = output();
  const { model_id: id } = data[WIDGET] ?? {};
  if (id && manager.has_model(id)) {
    const model = await manager.get_model(id);
    const view = await manager.create_view(model, { el: cell });
    await manager.display_view(data, view, { node: cell });
    return "widget";
  }
  cell.innerHTML = data["text/html"] ?? "";
  return "html";
}

const host = {
  problems,
  stored: [],
  printed: "",
  show,
  run(code) {
    const future = kernel.requestExecute({ code, allow_stdin: false });
    future.onIOPub = (message) => {
      const type = message.header.msg_type;
      if (type === "stream") host.printed += message.content.text;
      if (type === "error") problems.push(message.content.traceback.join("\n"));
      if (type !== "display_data" && type !== "execute_result") return;
      host.stored.push(message.content.data);
      return show(message.content.data).then(() => {});
    };
    return future.done;
  },
};
window.host = host;
await kernel.info;
document.body.dataset.ready = "true";
