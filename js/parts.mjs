// Cuts the bundle in two: what a first picture needs, and what somebody needs who looks closer. No module is in both:
// the second part is handed what it takes from the first.
import { readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const SRC = join(dirname(fileURLToPath(import.meta.url)), "src");

/** By paths within `src`: the modules of an entry of esbuild's metafile, and what they import of each other. */
export function modulesOf(metafile, entry) {
  const from = (path) => relative(SRC, resolve(path)).split(sep).join("/");
  const inputs = new Map(Object.entries(metafile.inputs).map(([path, { imports }]) => [from(path), imports]));
  const found = new Set();
  const take = (path) => {
    if (found.has(path)) return;
    found.add(path);
    for (const each of inputs.get(path) ?? []) take(from(each.path));
  };
  take(entry);
  return found;
}

/** What modules of `second` import from modules of `first`, and how its texts are added: module -> names, in order. */
export function takenOver(first, second) {
  const taken = new Map([["model/words.ts", new Set(["learn"])]]);
  for (const path of [...second].sort()) {
    if (first.has(path) || !path.endsWith(".ts")) continue;
    const file = ts.createSourceFile(path, readFileSync(join(SRC, path), "utf8"), ts.ScriptTarget.ES2022);
    for (const statement of file.statements) {
      if (!ts.isImportDeclaration(statement) || statement.importClause?.isTypeOnly) continue;
      const other = join(dirname(path), statement.moduleSpecifier.text).split(sep).join("/");
      if (!first.has(other)) continue;
      const { importClause } = statement;
      if (!importClause?.namedBindings || importClause.name || !ts.isNamedImports(importClause.namedBindings))
        throw new Error(`${path}: what comes from ${other} has to be imported by name`);
      const names = taken.get(other) ?? new Set();
      for (const each of importClause.namedBindings.elements)
        if (!each.isTypeOnly) names.add((each.propertyName ?? each.name).text);
      taken.set(other, names);
    }
  }
  return new Map([...taken].filter(([, names]) => names.size > 0).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Plugin for the first part: `base.ts` holds all that the second one takes, and the name of that. */
export function giving(taken, name) {
  return {
    name: "giving",
    setup(build) {
      build.onLoad({ filter: /[\\/]src[\\/]model[\\/]base\.ts$/ }, () => {
        const all = [...taken].flatMap(([path, names]) => [...names].map((each) => [path, each]));
        const imports = all.map(([path, each], at) => `import { ${each} as g${at} } from "./${path}";`);
        const values = all.map((_, at) => `g${at}`);
        const contents = `${imports.join("\n")}\nexport const base = [${values}];\nexport const name = "${name}";`;
        return { contents, loader: "js", resolveDir: SRC };
      });
    },
  };
}

/** Plugin for the second part: what the first one has is taken from `BASE`. */
export function taking(taken, first) {
  const places = new Map();
  for (const [path, names] of taken) for (const each of names) places.set(`${path} ${each}`, places.size);
  return {
    name: "taking",
    setup(build) {
      build.onLoad({ filter: /[\\/]src[\\/].*\.ts$/ }, ({ path }) => {
        const own = relative(SRC, path).split(sep).join("/");
        if (!first.has(own)) return undefined;
        const names = [...(taken.get(own) ?? [])];
        const contents = names
          .map((each) => `export const ${each} = BASE[${places.get(`${own} ${each}`)}];`)
          .join("\n");
        return { contents, loader: "js" };
      });
    },
  };
}

/**
 * Rules of minified CSS (`rules`: as `shrink.mjs` reads them) that only the second part needs: each of their selectors
 * names a class that the first part's code does not know.
 */
export function splitRules(rules, code, rulesOf, split) {
  const known = new Set(code.match(/\btd-[a-z0-9-]+/g));
  const isUnknown = (selector) => {
    const groups = [...selector.matchAll(/:is\(([^()]*)\)/g)].map(([, inner]) => inner.split(","));
    const plain = selector.replace(/:(?:is|not|where|has)\([^()]*\)/g, "").match(/\.td-[a-z0-9-]+/g) ?? [];
    return plain.some((each) => !known.has(each.slice(1))) || groups.some((group) => group.every(isUnknown));
  };
  const isLater = ({ head }) => split(head, ",").every(isUnknown);
  const first = [];
  const later = [];
  for (const rule of rules) {
    if (rule.head.startsWith("@keyframes")) first.push(rule);
    else if (rule.head.startsWith("@")) {
      const inner = rulesOf(rule.body);
      const parts = [inner.filter((each) => !isLater(each)), inner.filter(isLater)];
      for (const [at, to] of [first, later].entries())
        if (parts[at].length > 0)
          to.push({ ...rule, body: parts[at].map(({ head, body }) => `${head}{${body}}`).join("") });
    } else (isLater(rule) ? later : first).push(rule);
  }
  return [first, later];
}
