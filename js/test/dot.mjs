// Graphviz dot, the real one, built for WebAssembly: `node test/dot.mjs svg|plain`. A graph comes as a JSON string on a
// line of stdin and leaves as a line of stdout: the picture and the processor seconds of it, or Graphviz's own words.
import { readFileSync } from "node:fs";
import { Graphviz } from "@hpcc-js/wasm-graphviz";

const graphviz = await Graphviz.load();
for (const line of readFileSync(0, "utf8").trimEnd().split("\n")) {
  const begin = process.cpuUsage();
  let made;
  try {
    made = { picture: graphviz.layout(JSON.parse(line), process.argv[2], "dot") };
  } catch (error) {
    made = { error: String(error) };
  }
  const spent = process.cpuUsage(begin);
  console.log(JSON.stringify({ ...made, seconds: (spent.user + spent.system) / 1e6 }));
}
