// Keeps the page up to date: the server sends the same tree that it wrote as HTML.
"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const main = document.querySelector("main");
  const age = document.getElementById("age");
  // Later than this, what is shown is called old.
  const STALE = 10000;
  let seen = Date.now();
  let lost = "";

  // Names are text: nothing is ever read as HTML.
  const make = (tree, inSvg) => {
    if (typeof tree === "string") return document.createTextNode(tree);
    const [tag, attributes, ...children] = tree;
    const svg = inSvg || tag === "svg";
    const node = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const name in attributes) node.setAttribute(name, attributes[name]);
    for (const child of children) node.append(make(child, svg));
    return node;
  };

  // Changes what differs alone, so that focus, selection and opened details stay.
  const patch = (node, tree, inSvg) => {
    if (typeof tree === "string") {
      if (node.nodeType !== 3) node.replaceWith(make(tree));
      else if (node.data !== tree) node.data = tree;
      return;
    }
    const [tag, attributes, ...children] = tree;
    if (node.nodeType !== 1 || node.localName !== tag) {
      node.replaceWith(make(tree, inSvg));
      return;
    }
    for (const { name } of [...node.attributes]) {
      if (!(name in attributes) && name !== "open") node.removeAttribute(name);
    }
    for (const name in attributes) {
      if (node.getAttribute(name) !== attributes[name]) node.setAttribute(name, attributes[name]);
    }
    const svg = inSvg || tag === "svg";
    const old = [...node.childNodes];
    children.forEach((child, i) => {
      if (i < old.length) patch(old[i], child, svg);
      else node.append(make(child, svg));
    });
    old.slice(children.length).forEach((child) => child.remove());
  };

  const tick = () => {
    const s = Math.round((Date.now() - seen) / 1000);
    const stale = lost !== "" || Date.now() - seen > STALE;
    document.body.classList.toggle("stale", stale);
    age.textContent = "as of " + s + " s ago" + (stale ? " · " + (lost || "no news") : "");
  };

  const events = new EventSource("/ui/events" + location.search);
  events.onmessage = (event) => {
    patch(main, JSON.parse(event.data));
    seen = Date.now();
    lost = "";
    tick();
  };
  events.onerror = () => {
    lost = events.readyState === 2
      ? "the node does not answer any more: reload, or run skydht ui"
      : "the connection to the node is lost, it is tried again";
    tick();
  };
  setInterval(tick, 1000);
})();
