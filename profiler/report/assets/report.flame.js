// SPDX-License-Identifier: Apache-2.0
"use strict";
// The retained stacks as a flame graph, with the list below it.
const retained = (() => {
	const { doc, byId, color, element, printable, size, plural, percent, place, named, label, isAllocator, classes } = page;
	const still = matchMedia("(prefers-reduced-motion: reduce)");
	const program = doc.target.exe.replace(/.*\//s, "");

	let stacks = []; // those that are chosen
	let total = 0; // their bytes
	let narrowed = null; // those that the frame chosen or the search is about; null: all

	// widths are what a frame is as wide as.
	const widths = {
		bytes: (s) => stackList.bytes(s),
		blocks: (s) => Math.max(0, s.objects),
		stacks: () => 1,
	};

	// tree joins stacks from their outer ends on. A node knows its stacks.
	function tree(group, width) {
		const make = (more) => ({ value: 0, bytes: 0, lost: 0, held: 0, unknown: 0, stacks: [], below: new Map(), ...more });
		const root = make({ name: "retained", kind: "root" });
		for (const s of stacks) {
			const w = width(s);
			let node = root;
			const take = () => {
				node.value += w;
				node.bytes += stackList.bytes(s);
				for (const c of classes) node[c] += stackList.part(s, c);
				node.stacks.push(s);
			};
			const add = (key, more) => {
				let next = node.below.get(key);
				if (!next) node.below.set(key, next = make(more()));
				node = next;
				take();
			};
			take();
			if (group) {
				const name = s[group] ?? "no pool";
				add(name, () => ({ name: printable(name), kind: "group" }));
			}
			for (const f of s.frames.toReversed()) {
				add(`${f.module}\n${f.function}`, () => ({
					name: printable(label(f)), frame: f, places: new Set(),
					kind: isAllocator(f.function) ? "alloc" : f.module === program ? "bird" : "other",
				}));
				node.places.add(place(f));
			}
		}
		const order = (node) => {
			node.children = [...node.below.values()].sort((a, b) => b.value - a.value);
			delete node.below;
			node.children.forEach(order);
		};
		order(root);
		return root;
	}

	// shade moves a lightness a little by a function's name, so that neighbours
	// differ and a function looks the same wherever it is.
	function shade(name, range) {
		let h = 0;
		for (const c of name) h = (31 * h + c.codePointAt(0)) >>> 0;
		return h % range;
	}

	const fills = {
		// What most of it is.
		class(d) {
			const most = classes.reduce((a, b) => (d.data[b] > d.data[a] ? b : a));
			return `hsl(${color(`--${most}-hs`)} ${Number.parseFloat(color("--frame-l")) - 4 + shade(d.data.name, 9)}%)`;
		},
		function: (d) => `hsl(${Number(color("--frame-bird-h")) - 12 + shade(d.data.name, 34)} 85% ${color("--frame-l")})`,
		alloc: () => color("--frame-alloc"),
		other: () => color("--frame-other"),
		group: () => color("--frame-group"),
		root: () => color("--frame-alloc"),
	};
	const fill = (d) => fills[d.data.kind === "bird" ? byId("color").value : d.data.kind](d);

	const cell = 20; // height of a frame, pixels
	// depth is of frames at least so wide: narrower ones are not drawn before one
	// looks closer.
	const depth = (node, least) => Math.max(0, ...node.children.filter((c) => c.value >= least).map((c) => 1 + depth(c, least)));
	// heightOf is that of the graph when a frame, with so many above it, has its
	// whole width.
	const heightOf = (node, above) => cell * (above + 1 + depth(node, node.value / flame.clientWidth));
	let chart = null;
	const flame = byId("flame");

	function drawFlame() {
		flame.replaceChildren();
		searched.clear();
		stacks = stackList.shown();
		total = stackList.sum(stacks);
		narrowed = null;
		const root = tree(byId("group").value, widths[byId("width").value]);
		const mine = flamegraph.default()
			.width(flame.clientWidth)
			.cellHeight(cell)
			.height(heightOf(root, 0))
			.inverted(true)
			.minFrameSize(1)
			.transitionDuration(still.matches ? 0 : 150)
			.setColorMapper((d) => (d.highlight ? color("--found") : fill(d)))
			.setLabelHandler((d) => `${d.data.name}: ${amounts(d.data)}${d.data.frame ? `; ${named(d.data.frame)}` : ""}`)
			.setSearchMatch(matches)
			.setSearchHandler(() => {})
			.setDetailsHandler(() => {})
			.onClick((d) => choose(d));
		chart = mine;
		d3.select(flame).datum(root).call(mine);
		choose(null);
		search();
	}

	// What is searched in, of a frame or a stack: made when first asked for.
	const searched = new Map();
	function has(thing, term, texts) {
		if (!searched.has(thing)) searched.set(thing, texts().map(printable).join("\n").toLowerCase());
		return searched.get(thing).includes(term);
	}

	function matches(d, term) {
		return has(d.data, term, () => [d.data.name, ...(d.data.places ?? [])]);
	}

	// A frame stands for several stacks, of which one may have the line that is
	// searched for: so stacks are counted themselves.
	function showFound(term) {
		const found = stacks.filter((s) => has(s, term, () => [s.pool ?? "", ...s.held_by.map((h) => h.what), ...s.frames.flatMap((f) => [f.function, place(f)])]));
		const bytes = stackList.sum(found);
		byId("found").textContent = found.length === 0 ? "Nothing found" :
			`${plural(found.length, "call stack")}: ${size(bytes)}, ${percent(bytes, total)}`;
		narrowed = new Set(found);
		list();
	}

	function search() {
		const term = byId("search").value.trim().toLowerCase();
		if (term) {
			chart.search(term); // marks frames
			showFound(term);
			return;
		}
		chart.clear();
		byId("found").textContent = "";
		narrowed = null;
		list();
	}

	function list() { stackList.draw(narrowed ? stacks.filter((s) => narrowed.has(s)) : stacks, total); }

	function amounts(node) {
		const blocks = node.stacks.reduce((sum, s) => sum + s.objects, 0);
		return `${size(node.bytes)} in ${plural(blocks, "block")}, ${percent(node.bytes, total)}, ${plural(node.stacks.length, "call stack")}`;
	}

	const fit = (d) => flame.querySelector("svg").setAttribute("height", heightOf(d.data, d.depth));

	// choose shows what a frame stands for; null is none.
	function choose(d) {
		const panel = byId("frame");
		if (d) fit(d);
		if (!d || d.data.kind === "root") {
			panel.replaceChildren(element("span", "note", `All: ${size(total)} in ${plural(stacks.length, "call stack")}. Callers above, allocators below; click a frame to look closer.`));
			if (!byId("search").value.trim()) narrowed = null;
			list();
			return;
		}
		const lines = [element("div", "name", d.data.name), element("div", "amount", amounts(d.data)),
			element("div", "classes", ...classes.filter((c) => d.data[c] > 0).flatMap((c) => [element("span", `tag ${c}`, `${c} ${size(d.data[c])}`), " "]))];
		if (d.data.places) {
			const places = [...d.data.places];
			lines.push(element("div", "note", places.slice(0, 5).join(", ") + (places.length > 5 ? ` and ${places.length - 5} more` : "")));
			if (named(d.data.frame)) lines.push(element("div", "note", named(d.data.frame)));
		}
		panel.replaceChildren(...lines);
		narrowed = new Set(d.data.stacks);
		list();
	}

	function setUp() {
		if (stackList.shown().length === 0) {
			byId("retained-none").hidden = false;
			byId("retained-part").hidden = true;
			return;
		}
		for (const form of document.querySelectorAll("#retained form")) form.addEventListener("submit", (e) => e.preventDefault());
		// Without a class there is nothing to see in its colours.
		if (doc.stacks.every((s) => s.class === "unknown")) byId("color").value = "function";
		byId("search").addEventListener("input", search);
		for (const id of ["group", "width", "color"]) byId(id).addEventListener("change", drawFlame);
		byId("reset").addEventListener("click", () => {
			chart.resetZoom();
			fit(d3.select(flame).datum());
			choose(null);
		});
		stackList.setUpChoice(drawFlame);
		drawFlame();
	}

	return { setUp, redraw: () => { if (chart) drawFlame(); } };
})();
