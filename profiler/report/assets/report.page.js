// SPDX-License-Identifier: Apache-2.0
"use strict";
// What all of the page's own scripts use. Text of the report reaches the document
// by textContent alone.
const page = (() => {
	const doc = JSON.parse(document.getElementById("report-data").textContent);
	const byId = (id) => document.getElementById(id);
	// color is one of the page's own; asked for anew, each would make the browser
	// compute styles again.
	const colors = new Map();
	function color(name) {
		if (!colors.has(name)) colors.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
		return colors.get(name);
	}

	// element makes an element with children, of which strings are text.
	function element(tag, className, ...children) {
		const e = document.createElement(tag);
		if (className) e.className = className;
		e.append(...children.map((c) => (typeof c === "string" ? printable(c) : c)));
		return e;
	}

	// printable keeps controls and marks that turn text round from the page.
	function printable(s) { return s.replace(/[\n\t\r]/g, " ").replace(/[\p{C}\u2028\u2029]/gu, "?"); }

	// size writes bytes as BIRD does, and as Go rounds: ties to the even digit.
	function size(bytes) {
		if (Math.abs(bytes) < 10000) return `${Math.round(bytes)} B`;
		let v = bytes, unit = "";
		for (unit of ["kB", "MB", "GB", "TB", "PB"]) {
			v /= 1024;
			if (Math.abs(v) < 10000) break;
		}
		const tenths = v * 10;
		if (Math.abs(tenths % 1) === 0.5) v = (2 * Math.round(tenths / 2)) / 10;
		return `${v.toFixed(1)} ${unit}`;
	}
	// axisSizes writes the numbers of an axis in one unit.
	function axisSizes(values) {
		const most = Math.max(...values);
		const step = Math.max(0, Math.min(4, Math.floor(Math.log2(most) / 10)));
		return values.map((v) => `${Number((v / 1024 ** step).toFixed(2))} ${["B", "kB", "MB", "GB", "TB"][step]}`);
	}
	function count(n) { return String(n).replace(/\B(?=(\d{3})+$)/g, ","); }
	function plural(n, what) { return `${count(n)} ${what}${n === 1 ? "" : "s"}`; }
	function percent(part, whole) {
		if (part <= 0 || whole <= 0) return "0%";
		if (part >= whole) return "100%";
		const p = Math.floor((10000 * part) / whole) / 100;
		return p === 0 ? "<0.01%" : `${p}%`;
	}
	// place is where a frame is in the source, without the directory that all of the
	// program's files are in.
	const root = document.body.dataset.root;
	function place(f) {
		const file = f.file.startsWith(root) ? f.file.slice(root.length) : f.file;
		return file ? (f.line > 0 ? `${file}:${f.line}` : file) : f.module;
	}

	// named says where a frame's name is from, "" if that was not noted; told marks
	// what no symbol tells; label is the name, with the file where it is all that
	// says anything.
	const sources = new Map([
		["symbol", "the program's or library's own symbols"], ["inline", "debug information: the call was inlined"],
		["debug file", "the separate debug file"], ["structure", "what the code does, or the table that has it"],
		["file only", "not known, but the source file is, by strings and neighbours"], ["address", "not known"],
	]);
	const named = (f) => (sources.has(f.source) ? `name by ${f.source}: ${sources.get(f.source)}` : "");
	const told = (f) => (f.source === "structure" || f.source === "file only" ? ` (${f.source})` : "");
	const label = (f) => (f.source === "file only" ? `${f.function} (${f.file.replace(/.*\//s, "")})` : f.function);

	const allocators = new Set(JSON.parse(byId("allocators").textContent));
	const isAllocator = (name) => allocators.has(name.replace(/[@.].*/s, ""));
	// The classes of memory, as pointers say. Reports from before they were
	// followed have none.
	const classes = ["lost", "held", "unknown"];
	for (const s of doc.stacks) {
		s.held_by ??= [];
		if (classes.every((c) => !s[`${c}_bytes`])) s.unknown_bytes = s.bytes;
	}
	return { doc, byId, color, forgetColors: () => colors.clear(), element, printable, size, axisSizes, count, plural, percent, place, named, told, label, isAllocator, classes };
})();
