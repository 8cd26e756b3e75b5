// Which property names the bundle may shorten. A name is safe when it is ours alone: declared in `src`, and never one
// that JSON, the DOM, a host or a string knows. Everything here errs on the side of leaving a name as it is.
import { readdirSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const SRC = join(dirname(fileURLToPath(import.meta.url)), "src");

/** Where the interfaces speak of what is not ours. */
const HOSTS = /sources\/(?!source)\w+\.ts$/;

/** What private members are called in the texts that `prepare` gives; every name that starts like this is ours. */
const PRIVATE = "_p_";

/**
 * `texts`: the sources by path, with private members renamed; `names`: what may be shortened in them, sorted, besides
 * all that begins with `_p_`.
 */
export function prepare() {
  const roots = readdirSync(SRC, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith(".ts"))
    .map((name) => join(SRC, name));
  const program = ts.createProgram(roots, {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    lib: ["lib.es2023.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"],
    types: [],
    strict: true,
    skipLibCheck: true,
    resolveJsonModule: true,
    allowImportingTsExtensions: true,
    noEmit: true,
  });
  const checker = program.getTypeChecker();
  const own = new Set();
  const shut = new Set(["constructor", "prototype", "then", "default"]);
  for (const file of program.getSourceFiles()) {
    if (file.isDeclarationFile) declaredIn(file, shut);
    else if (!isOurs(file)) quotedKeys(file, shut);
    else if (file.fileName.endsWith(`${sep}protocol.ts`) || /entry_\w+\.ts$/.test(file.fileName)) {
      declaredIn(file, shut);
      strings(file, shut);
    } else {
      declaredIn(file, own);
      strings(file, shut);
      escaping(file, checker, shut);
      if (HOSTS.test(file.fileName)) interfacesIn(file, shut);
    }
  }
  const texts = {};
  for (const file of program.getSourceFiles())
    if (!file.isDeclarationFile && isOurs(file)) texts[relative(SRC, file.fileName)] = withoutPrivates(file, checker);
  return { names: [PRIVATE, ...[...own].filter((name) => !shut.has(name) && name.length > 2).sort()], texts };
}

/** Private members cannot be reached by anything but their class, so they may be called anything. */
function withoutPrivates(file, checker) {
  const edits = [];
  const isPrivate = (symbol) =>
    symbol?.declarations?.some((each) => ts.getCombinedModifierFlags(each) & ts.ModifierFlags.Private) ?? false;
  const visit = (node) => {
    if (ts.isBindingElement(node) && ts.isObjectBindingPattern(node.parent)) {
      const name = node.propertyName ?? node.name;
      const symbol = ts.isIdentifier(name)
        ? checker.getPropertyOfType(checker.getTypeAtLocation(node.parent), name.text)
        : undefined;
      if (isPrivate(symbol)) {
        const text = PRIVATE + name.text + (node.propertyName ? "" : `: ${name.text}`);
        edits.push([name.getStart(file), name.getEnd(), text]);
      }
    } else if (ts.isPropertyAccessExpression(node) && isPrivate(checker.getSymbolAtLocation(node.name)))
      edits.push([node.name.getStart(file), node.name.getEnd(), PRIVATE + node.name.text]);
    else if (ts.isClassElement(node) && nameOf(node) && ts.getCombinedModifierFlags(node) & ts.ModifierFlags.Private)
      edits.push([node.name.getStart(file), node.name.getEnd(), PRIVATE + node.name.text]);
    ts.forEachChild(node, visit);
  };
  ts.forEachChild(file, visit);
  let { text } = file;
  for (const [from, to, now] of edits.sort((a, b) => b[0] - a[0])) text = text.slice(0, from) + now + text.slice(to);
  return text;
}

/** Members of interfaces that say what we need of a host. */
function interfacesIn(file, found) {
  for (const statement of file.statements) {
    if (ts.isInterfaceDeclaration(statement)) for (const each of statement.members) found.add(nameOf(each));
  }
}

function isOurs(file) {
  return file.fileName.startsWith(SRC.split(sep).join("/"));
}

function nameOf(node) {
  return node.name && (ts.isIdentifier(node.name) || ts.isPrivateIdentifier(node.name)) ? node.name.text : "";
}

/** Members of classes, interfaces, type and object literals. */
function declaredIn(file, found) {
  const visit = (node) => {
    const isMember =
      ts.isClassElement(node) ||
      ts.isTypeElement(node) ||
      ts.isObjectLiteralElement(node) ||
      (ts.isParameter(node) && ts.isParameterPropertyDeclaration(node, node.parent));
    if (isMember && nameOf(node)) found.add(nameOf(node));
    ts.forEachChild(node, visit);
  };
  ts.forEachChild(file, visit);
}

function quotedKeys(file, found) {
  const visit = (node) => {
    if (ts.isPropertyAssignment(node)) found.add(node.name.text);
    ts.forEachChild(node, visit);
  };
  ts.forEachChild(file, visit);
}

/** Every text that is written down, whole: a name may be looked up by it. */
function strings(file, found) {
  const visit = (node) => {
    if (ts.isStringLiteralLike(node)) found.add(node.text);
    ts.forEachChild(node, visit);
  };
  ts.forEachChild(file, visit);
}

/** Names that count: of records, of objects that go into a record or into `unknown`, or come out of `unknown`. */
function escaping(file, checker, found) {
  const seen = new Set();
  const take = (type, depth = 0) => {
    if (depth > 6 || seen.has(type)) return;
    seen.add(type);
    if (type.isUnionOrIntersection()) {
      for (const each of type.types) take(each, depth);
      return;
    }
    if (!(type.flags & ts.TypeFlags.Object)) return;
    for (const each of [...(checker.getTypeArguments?.(type) ?? [])]) take(each, depth + 1);
    for (const property of type.getProperties()) {
      const where = property.valueDeclaration ?? property.declarations?.[0];
      if (where?.getSourceFile().isDeclarationFile) continue;
      found.add(property.name);
      if (where) take(checker.getTypeOfSymbolAtLocation(property, where), depth + 1);
    }
    for (const each of type.getCallSignatures()) take(each.getReturnType(), depth + 1);
  };
  const isOpen = (type) => {
    if (!type) return false;
    // `object` is what a look with `typeof` leaves of `unknown`.
    if (type.flags & (ts.TypeFlags.Unknown | ts.TypeFlags.Any | ts.TypeFlags.NonPrimitive)) return true;
    if (type.isUnionOrIntersection()) return type.types.some(isOpen);
    return checker.getIndexInfoOfType(type, ts.IndexKind.String) !== undefined;
  };
  const visit = (node) => {
    if (ts.isAsExpression(node)) {
      const from = checker.getTypeAtLocation(node.expression);
      if (isOpen(from)) take(checker.getTypeAtLocation(node));
      else if (isOpen(checker.getTypeAtLocation(node))) take(from);
    }
    // `element.dataset.tiny`, `record.name`: any name may be looked up there.
    if (ts.isPropertyAccessExpression(node) && isOpen(checker.getTypeAtLocation(node.expression)))
      found.add(node.name.text);
    if (ts.isObjectBindingPattern(node) && isOpen(checker.getTypeAtLocation(node)))
      for (const { propertyName, name } of node.elements) found.add((propertyName ?? name).text);
    if (ts.isObjectLiteralExpression(node) && isOpen(checker.getContextualType(node))) {
      take(checker.getTypeAtLocation(node));
      for (const each of node.properties) {
        if (nameOf(each)) found.add(nameOf(each));
        if (ts.isSpreadAssignment(each)) take(checker.getTypeAtLocation(each.expression));
      }
    } else if (ts.isExpression(node) && ts.isCallExpression(node.parent) && node.parent.arguments.includes(node)) {
      if (isOpen(checker.getContextualType(node))) take(checker.getTypeAtLocation(node));
    }
    ts.forEachChild(node, visit);
  };
  ts.forEachChild(file, visit);
}
