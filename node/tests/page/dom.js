// A small document, enough to run the page's script without a browser: node dom.js SCRIPT TREE
"use strict";
const fs = require("node:fs");

class Node_ {
  constructor(nodeType) { this.nodeType = nodeType; this.parent = null; }
  replaceWith(other) {
    const siblings = this.parent.childNodes;
    siblings[siblings.indexOf(this)] = other;
    other.parent = this.parent;
  }
  remove() {
    const siblings = this.parent.childNodes;
    siblings.splice(siblings.indexOf(this), 1);
  }
}

class Text_ extends Node_ {
  constructor(data) { super(3); this.data = data; }
  dump() { return this.data; }
}

class Element_ extends Node_ {
  constructor(localName) {
    super(1);
    this.localName = localName;
    this.map = new Map();
    this.childNodes = [];
  }
  get attributes() { return [...this.map.keys()].map((name) => ({ name })); }
  setAttribute(name, value) { this.map.set(name, value); }
  getAttribute(name) { return this.map.get(name) ?? null; }
  removeAttribute(name) { this.map.delete(name); }
  append(child) { child.parent = this; this.childNodes.push(child); }
  dump() {
    const children = this.childNodes.map((child) => child.dump());
    return [this.localName, Object.fromEntries(this.map), ...children];
  }
}

const main = new Element_("main");
new Element_("body").append(main);
const age = { textContent: "" };
const classes = new Set();
let events;
global.document = {
  querySelector: () => main,
  getElementById: () => age,
  createTextNode: (data) => new Text_(data),
  createElement: (name) => new Element_(name),
  createElementNS: (_, name) => new Element_(name),
  body: { classList: { toggle: (name, on) => (on ? classes.add(name) : classes.delete(name)) } },
};
global.location = { search: "" };
global.EventSource = class {
  constructor(url) { this.url = url; this.readyState = 1; events = this; }
};
global.setInterval = () => {};
require(fs.realpathSync(process.argv[2]));

const same = (tree) => {
  const [found, wanted] = [main.dump(), tree].map((it) => JSON.stringify(it));
  if (found !== wanted) throw new Error("built " + found + " of " + wanted);
};
const check = (holds, what) => { if (!holds) throw new Error(what); };
const news = (tree) => { events.onmessage({ data: JSON.stringify(tree) }); };

// What the server sends is built as it is, and built again of something else.
const server = JSON.parse(fs.readFileSync(process.argv[3], "utf8"));
news(server);
same(server);
const first = ["main", {}, ["p", {}, "<b>x</b>"], ["details", {}, ["summary", {}, "s"]]];
news(first);
same(first);
// What a user opened stays open, and the element stays the same.
const kept = main.childNodes[1];
kept.setAttribute("open", "");
const second = ["main", {}, "t", ["details", { class: "z" }, ["summary", {}, "s2"]], ["p", {}]];
news(second);
check(main.childNodes[1] === kept && kept.getAttribute("open") === "", "details were closed");
kept.removeAttribute("open");
same(second);
check(classes.size === 0, "stale too early");
// A lost connection keeps the last picture, and says so.
events.readyState = 0;
events.onerror();
same(second);
check(classes.has("stale") && age.textContent.includes("lost"), "not called stale");
news(server);
same(server);
check(classes.size === 0, "still stale");
console.log("ok");
