// Exhaustive exploration of call_protocol.qnt: every state that is reachable within the bounds.
//
//   node explore.mjs                  all cases, a table
//   node explore.mjs --quick --json   the cases of CI, for a program
//   node explore.mjs NAME             one case; the shortest counterexample is printed
//   node explore.mjs --parse          let Quint parse the changed model; --check compares only
//
// Quint's own simulator draws random runs, and its model checkers need Java and a download. This
// script compiles Quint's parse tree to JavaScript and explores breadth-first. So there is one text
// of the rules, and the shortest counterexample is found.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const QUINT = join(HERE, "node_modules/@informalsystems/quint/dist/src/cli.js");

// --- values: records and maps are objects with sorted names, sets are sorted arrays ------------

const text = (value) => JSON.stringify(value);

function set(members) {
  if (members.length < 2) return members;
  const byText = new Map(members.map((member) => [text(member), member]));
  return [...byText.keys()].sort().map((key) => byText.get(key));
}

const same = (a, b) => a === b || (typeof a === "object" && text(a) === text(b));
const contains = (members, one) => members.some((member) => same(member, one));

const OPERATORS = {
  Set: (...members) => `set([${members}])`,
  Rec: (...pairs) => {
    const fields = [];
    for (let i = 0; i < pairs.length; i += 2) fields.push(`${pairs[i]}:${pairs[i + 1]}`);
    return `({${fields.sort()}})`;
  },
  field: (record, name) => `${record}[${name}]`,
  with: (record, name, value) => `({...${record},${name}:${value}})`,
  get: (map, key) => `${map}[${key}]`,
  set: (map, key, value) => `({...${map},[${key}]:${value}})`,
  keys: (map) => `Object.keys(${map})`,
  mapBy: (names, f) => `mapBy(${names},${f})`,
  eq: (a, b) => `same(${a},${b})`,
  neq: (a, b) => `!same(${a},${b})`,
  not: (a) => `!${a}`,
  and: (...all) => `(${all.join("&&")})`,
  or: (...any) => `(${any.join("||")})`,
  implies: (a, b) => `(!${a}||${b})`,
  ite: (condition, yes, no) => `(${condition}?${yes}:${no})`,
  ilt: (a, b) => `(${a}<${b})`,
  igt: (a, b) => `(${a}>${b})`,
  ilte: (a, b) => `(${a}<=${b})`,
  igte: (a, b) => `(${a}>=${b})`,
  iadd: (a, b) => `(${a}+${b})`,
  isub: (a, b) => `(${a}-${b})`,
  iuminus: (a) => `(-${a})`,
  size: (members) => `${members}.length`,
  contains: (members, one) => `contains(${members},${one})`,
  union: (a, b) => `set([...${a},...${b}])`,
  exclude: (a, b) => `exclude(${a},${b})`,
  filter: (members, f) => `${members}.filter(${f})`,
  map: (members, f) => `set(${members}.map(${f}))`,
  exists: (members, f) => `${members}.some(${f})`,
  forall: (members, f) => `${members}.every(${f})`,
};
const RUNTIME = {
  set,
  same,
  contains,
  exclude: (a, b) => a.filter((one) => !contains(b, one)),
  mapBy: (names, f) => Object.fromEntries(names.map((name) => [name, f(name)])),
};

// --- compiler: definitions become JavaScript functions -------------------------------------------
//
// `s` is the present state and `n` the next one. An action takes a function `k` and calls it for
// each successor, so that every choice is made.

class Compiler {
  /** With `picks`, each successor also has the choices that led to it. */
  constructor(declarations, constants, replaced, picks = false) {
    this.picks = picks;
    this.defs = new Map(declarations.filter((d) => d.kind === "def").map((d) => [d.name, d]));
    this.vars = declarations.filter((d) => d.kind === "var").map((d) => d.name).sort();
    for (const [name, value] of Object.entries(constants)) this.require(name).expr = literal(value);
    for (const [name, other] of Object.entries(replaced)) this.require(name).expr = this.require(other).expr;
  }

  require(name) {
    if (!this.defs.has(name)) throw new Error(`the model has no definition ${name}`);
    return this.defs.get(name);
  }

  /** Return the functions `names` of the model. */
  compiled(names) {
    const source = [...this.defs.values()].map((d) => this.definition(d)).join("\n");
    const result = `return {${names.map((name) => `${name}:$${name}`)}};`;
    return new Function(...Object.keys(RUNTIME), `"use strict";\n${source}\n${result}`)(...Object.values(RUNTIME));
  }

  definition({ name, expr, qualifier }) {
    const parameters = expr.kind === "lambda" ? expr.params.map((p) => this.bound(p.name)) : [];
    const body = expr.kind === "lambda" ? expr.expr : expr;
    if (qualifier !== "action") return `function $${name}(${["s", ...parameters]}){return ${this.value(body)};}`;
    return `function $${name}(${["s", "n", "k", ...parameters]}){${this.action(body, "n", (n) => `k(${n});`)}}`;
  }

  value(e) {
    switch (e.kind) {
      case "int":
      case "bool":
      case "str":
        return text(e.value);
      case "name":
        if (this.vars.includes(e.name)) return `s.${e.name}`;
        return this.defs.has(e.name) ? `$${e.name}(s)` : `$${e.name}`;
      case "lambda":
        return `(${e.params.map((p) => this.bound(p.name))})=>${this.value(e.expr)}`;
      case "let":
        return `((${this.bound(e.opdef.name)})=>${this.value(e.expr)})(${this.value(e.opdef.expr)})`;
      case "app": {
        const args = e.args.map((arg) => this.value(arg));
        if (this.defs.has(e.opcode)) return `$${e.opcode}(${["s", ...args]})`;
        if (OPERATORS[e.opcode] === undefined) break;
        return OPERATORS[e.opcode](...args);
      }
    }
    throw new Error(`cannot compile ${e.kind} ${e.opcode ?? ""}`);
  }

  /** The identifier of a local name, which must not hide a definition. */
  bound(name) {
    if (name !== "_" && (this.defs.has(name) || this.vars.includes(name))) throw new Error(`${name} is defined twice`);
    return `$${name}`;
  }

  isAction(e) {
    if (e.kind === "let") return e.opdef.qualifier === "nondet" || this.isAction(e.expr);
    if (e.kind === "name") return this.defs.get(e.name)?.qualifier === "action";
    if (e.kind !== "app") return false;
    if (["assign", "actionAll", "actionAny"].includes(e.opcode)) return true;
    return this.defs.get(e.opcode)?.qualifier === "action" || (e.opcode === "ite" && this.isAction(e.args[1]));
  }

  /** Return statements that run `then(next)` for each successor; `n` names the successor so far. */
  action(e, n, then) {
    if (!this.isAction(e)) return `if(${this.value(e)}){${then(n)}}`;
    const next = `n${this.number = (this.number ?? 0) + 1}`;
    if (e.kind === "let") {
      const { name, expr, qualifier } = e.opdef;
      if (qualifier !== "nondet") return `{const ${this.bound(name)}=${this.value(expr)};${this.action(e.expr, n, then)}}`;
      const picked = this.picks ? `{...${n},choices:{...${n}.choices,${name}:$${name}}}` : n;
      return `for(const ${this.bound(name)} of ${this.value(expr.args[0])}){const ${next}=${picked};${this.action(e.expr, next, then)}}`;
    }
    if (e.kind === "name") return `$${e.name}(s,${this.named(n, e.name)},(${next})=>{${then(next)}});`;
    if (e.opcode === "assign") return `{const ${next}={...${n},${e.args[0].name}:${this.value(e.args[1])}};${then(next)}}`;
    if (e.opcode === "ite") {
      const [yes, no] = e.args.slice(1).map((arg) => this.action(arg, n, (m) => `${next}(${m});`));
      return `{const ${next}=(${next})=>{${then(next)}};if(${this.value(e.args[0])}){${yes}}else{${no}}}`;
    }
    if (e.opcode === "actionAll") {
      return e.args.reduceRight((rest, part) => (m) => this.action(part, m, rest), then)(n);
    }
    if (e.opcode === "actionAny") {
      const parts = e.args.map((arg) => this.action(arg, n, (m) => `${next}(${m});`));
      return `{const ${next}=(${next})=>{${then(next)}};${parts.join("")}}`;
    }
    const args = e.args.map((arg) => this.value(arg));
    return `$${e.opcode}(${["s", this.named(n, e.opcode, args), `(${next})=>{${then(next)}}`, ...args]});`;
  }

  /** The outermost action below `step` names the transition. */
  named(n, name, args = []) {
    if (["step", "fault", "noFault", "unchanged", "rest"].includes(name)) return n;
    return `{$:[${[text(name), ...args.slice(0, 1)]}].join(" "),...${n}}`;
  }
}

const literal = (value) => ({ kind: typeof value === "number" ? "int" : typeof value === "string" ? "str" : "bool", value });

// --- exploration -----------------------------------------------------------------------------------

/** The same state with the two workers exchanged: the model treats them alike. */
function exchanged(state) {
  const { A, B } = state.workers;
  const by = { A: "B", B: "A", "": "" }[state.lease.by];
  return { ...state, workers: { A: B, B: A }, lease: { ...state.lease, by } };
}

/** Of a state and the exchanged one, return the first in order, with its text. */
function canonical(state) {
  const other = exchanged(state), key = text(state), otherKey = text(other);
  return otherKey < key ? [other, otherKey] : [state, key];
}

/** Walk along the states with these texts, and then take the action `last`, if one is named; return
 * each state, the action before it, and its choices. */
function walked(compiler, keys, last) {
  const { init, step } = compiler.compiled(["init", "step"]);
  const trace = [];
  for (const key of last === undefined ? keys : [...keys, last]) {
    const successors = [];
    const keep = ({ $, choices, ...successor }) => {
      const state = Object.fromEntries(compiler.vars.map((name) => [name, successor[name]]));
      const action = ($ ?? "init").split(" ")[0];
      if (action === key || canonical(state)[1] === key) successors.push({ action, choices: choices ?? {}, state });
    };
    if (trace.length === 0) init({}, {}, keep);
    else step(trace.at(-1).state, {}, keep);
    trace.push(successors[0]);
  }
  return trace;
}

/** Explore breadth-first; stop at the first state that breaks the invariant. */
function explore(declarations, { constants = {}, replaced = {}, then }) {
  const compiler = new Compiler(structuredClone(declarations), constants, replaced);
  const { init, step, safe, settled, healed } = compiler.compiled(["init", "step", "safe", "settled", "healed"]);
  const names = compiler.vars;
  const keys = [], index = new Map(), states = [], parents = [], labels = [], depths = [], edges = [], end = [];
  let transitions = 0, broken;

  const keep = (successor, parent) => {
    const label = successor.$;
    const [state, key] = canonical(Object.fromEntries(names.map((name) => [name, successor[name]])));
    let at = index.get(key);
    if (at === undefined) {
      at = states.length;
      index.set(key, at);
      keys.push(key), states.push(state), parents.push(parent), labels.push(label), depths.push(parent < 0 ? 0 : depths[parent] + 1);
      if (broken === undefined && !safe(state)) broken = at;
    }
    return at;
  };

  init({}, {}, (state) => keep(state, -1));
  for (let at = 0; at < states.length && broken === undefined; at++) {
    const state = states[at], out = new Set();
    step(state, {}, (successor) => {
      transitions++;
      out.add(keep(successor, at));
    });
    states[at] = null; // only its number is needed from now on
    out.delete(at); // a step that changes nothing
    edges.push(healed(state) ? [...out] : null);
    end.push(settled(state));
  }
  const path = [];
  for (let at = broken; at !== undefined && at >= 0; at = parents[at]) path.unshift(at);
  return {
    states: states.length, transitions, depth: depths.at(-1),
    safe: broken === undefined,
    live: broken === undefined ? ends(edges, end) : undefined,
    counterexample: path.map((at) => labels[at]),
    trace: walked(new Compiler(structuredClone(declarations), constants, replaced, true), path.map((at) => keys[at]), then),
    last: broken === undefined ? undefined : states[broken],
  };
}

/** Whether each run in the healed world ends, and ends settled: no cycle, and no other last state. */
function ends(edges, end) {
  const colour = new Uint8Array(edges.length);
  for (let root = 0; root < edges.length; root++) {
    if (edges[root] === null || colour[root] !== 0) continue;
    const stack = [[root, 0]];
    colour[root] = 1;
    while (stack.length > 0) {
      const top = stack.at(-1), [at, n] = top;
      if (edges[at].length === 0 && !end[at]) return false;
      if (n === edges[at].length) {
        colour[at] = 2;
        stack.pop();
        continue;
      }
      top[1]++;
      const to = edges[at][n];
      if (edges[to] === null) continue;
      if (colour[to] === 1) return false;
      if (colour[to] === 0) {
        colour[to] = 1;
        stack.push([to, 0]);
      }
    }
  }
  return true;
}

// --- parsed text of the model --------------------------------------------------------------------
//
// parsed.json has Quint's parse tree without types and positions, so that the model can be explored
// without Quint. It names the texts that it was made from.

const SOURCES = ["call_protocol.qnt", "mutations.qnt"];
const PARSED = join(HERE, "parsed.json");

function shortened(e) {
  switch (e.kind) {
    case "int":
    case "bool":
      return e.value;
    case "str":
      return { str: e.value };
    case "name":
      return e.name;
    case "app":
      return [e.opcode, ...e.args.map(shortened)];
    case "lambda":
      return { params: e.params.map((p) => p.name), body: shortened(e.expr) };
    case "let":
      return { let: e.opdef.name, qualifier: e.opdef.qualifier, is: shortened(e.opdef.expr), in: shortened(e.expr) };
  }
  throw new Error(`cannot shorten ${e.kind}`);
}

function expanded(e) {
  if (typeof e === "number") return { kind: "int", value: e };
  if (typeof e === "boolean") return { kind: "bool", value: e };
  if (typeof e === "string") return { kind: "name", name: e };
  if (Array.isArray(e)) return { kind: "app", opcode: e[0], args: e.slice(1).map(expanded) };
  if ("str" in e) return { kind: "str", value: e.str };
  if ("params" in e) return { kind: "lambda", params: e.params.map((name) => ({ name })), expr: expanded(e.body) };
  return { kind: "let", opdef: { name: e.let, qualifier: e.qualifier, expr: expanded(e.is) }, expr: expanded(e.in) };
}

function hashes() {
  const hash = (file) => createHash("sha256").update(readFileSync(join(HERE, file))).digest("hex");
  return Object.fromEntries(SOURCES.map((file) => [file, hash(file)]));
}

/** Return the content of parsed.json for the present texts; Quint has to be installed. */
function parsed() {
  if (!existsSync(QUINT)) throw new Error("Quint is not installed: run `npm ci` in model/");
  const directory = mkdtempSync(join(tmpdir(), "call-protocol-"));
  try {
    const out = join(directory, "model.json");
    const quint = spawnSync(process.execPath, [QUINT, "parse", "--out", out, join(HERE, "mutations.qnt")], { encoding: "utf8" });
    if (quint.status !== 0) throw new Error(`Quint cannot parse the model: ${quint.stdout}${quint.stderr}`);
    const declarations = JSON.parse(readFileSync(out, "utf8")).modules.flatMap((module) => module.declarations);
    const lines = declarations
      .filter((d) => d.kind === "def" || d.kind === "var")
      .map((d) => JSON.stringify(d.kind === "var" ? { var: d.name } : { def: d.name, qualifier: d.qualifier, is: shortened(d.expr) }));
    return `{"sources":${JSON.stringify(hashes())},\n"declarations":[\n${lines.join(",\n")}\n]}\n`;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function declared() {
  const { sources, declarations } = JSON.parse(readFileSync(PARSED, "utf8"));
  if (text(sources) !== text(hashes())) throw new Error("parsed.json is older than the model: run `node explore.mjs --parse`");
  return declarations.map((d) =>
    "var" in d ? { kind: "var", name: d.var } : { kind: "def", name: d.def, qualifier: d.qualifier, expr: expanded(d.is) });
}

// --- cases -----------------------------------------------------------------------------------------

function explored(declarations, one) {
  const began = performance.now();
  const result = explore(declarations, one);
  const expected = one.broken ? !result.safe : result.safe && result.live;
  return { name: one.name, broken: one.broken ?? false, expected, seconds: (performance.now() - began) / 1000, ...result };
}

function line(r) {
  const outcome = r.safe ? (r.live ? "safe, always settles" : "safe, may never settle") : `broken in ${r.counterexample.length - 1} steps`;
  return `${r.expected ? "ok  " : "FAIL"} ${r.name.padEnd(34)} ${outcome.padEnd(24)} ${r.states} states, ${r.transitions} transitions, depth ${r.depth}, ${r.seconds.toFixed(1)} s`;
}

function main(args) {
  const quick = args.includes("--quick"), json = args.includes("--json");
  const named = args.filter((arg) => !arg.startsWith("--"));
  if (args.includes("--parse")) return writeFileSync(PARSED, parsed());
  if (args.includes("--check")) {
    if (parsed() !== readFileSync(PARSED, "utf8")) throw new Error("parsed.json differs from Quint's parse tree of the model");
    return;
  }
  const cases = JSON.parse(readFileSync(join(HERE, "cases.json"), "utf8"))
    .filter((one) => (named.length > 0 ? named.includes(one.name) : !quick || one.quick));
  const declarations = declared();
  const results = cases.map((one) => {
    const result = explored(declarations, one);
    if (!json) console.log(line(result));
    if (!json && named.length > 0 && !result.safe) console.log(result.counterexample.join("\n"), "\n", JSON.stringify(result.last, null, 1));
    return result;
  });
  if (json) console.log(JSON.stringify(results));
  process.exitCode = results.every((r) => r.expected) ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv.slice(2));
