// SPDX-License-Identifier: Apache-2.0
"use strict";
// The page's own script: text of the report reaches the document by textContent
// alone.
(() => {
	const doc = JSON.parse(document.getElementById("report-data").textContent);
	const byId = (id) => document.getElementById(id);
	// color is one of the page's own; asked for anew, each would make the browser
	// compute styles again.
	const colors = new Map();
	function color(name) {
		if (!colors.has(name)) colors.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
		return colors.get(name);
	}
	const still = matchMedia("(prefers-reduced-motion: reduce)");

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
	function place(f) { return f.file ? (f.line > 0 ? `${f.file}:${f.line}` : f.file) : f.module; }

	const allocators = new Set(JSON.parse(byId("allocators").textContent));
	const isAllocator = (name) => allocators.has(name.replace(/[@.].*/s, ""));
	const program = doc.target.exe.replace(/.*\//s, "");

	// ---- retained stacks ----

	// A stack that retains nothing, net, has no width.
	const stacks = doc.stacks.filter((s) => s.bytes > 0);
	const retained = stacks.reduce((sum, s) => sum + s.bytes, 0);
	let shownStacks = null; // those that the frame chosen or the search is about; null: all

	// tree joins stacks from their outer ends on. A node knows its stacks.
	function tree(group) {
		const root = { name: "retained", value: 0, stacks: [], below: new Map(), kind: "root" };
		for (const s of stacks) {
			let node = root;
			const add = (key, make) => {
				let next = node.below.get(key);
				if (!next) node.below.set(key, next = Object.assign(make(), { value: 0, stacks: [], below: new Map() }));
				node = next;
				node.value += s.bytes;
				node.stacks.push(s);
			};
			root.value += s.bytes;
			root.stacks.push(s);
			if (group) {
				const name = s[group] ?? "no pool";
				add(name, () => ({ name: printable(name), kind: "group" }));
			}
			for (const f of s.frames.toReversed()) {
				add(`${f.module}\n${f.function}`, () => ({
					name: printable(f.function), frame: f, places: new Set(),
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

	const fills = {
		// One hue for BIRD's functions, shifted a little by name, so that
		// neighbours differ and a function looks the same wherever it is.
		bird(d) {
			let h = 0;
			for (const c of d.data.name) h = (31 * h + c.codePointAt(0)) >>> 0;
			return `hsl(${Number(color("--frame-bird-h")) - 12 + (h % 34)} 85% ${color("--frame-l")})`;
		},
		alloc: () => color("--frame-alloc"),
		other: () => color("--frame-other"),
		group: () => color("--frame-group"),
		root: () => color("--frame-alloc"),
	};

	const cell = 20; // height of a frame, pixels
	const depth = (node) => Math.max(0, ...node.children.map((c) => 1 + depth(c)));
	let chart = null;
	const flame = byId("flame");

	function drawFlame() {
		flame.replaceChildren();
		searched.clear();
		const root = tree(byId("group").value);
		const mine = flamegraph.default()
			.width(flame.clientWidth)
			.cellHeight(cell)
			.height(cell * (1 + depth(root)))
			.inverted(true)
			.minFrameSize(1)
			.transitionDuration(still.matches ? 0 : 150)
			.setColorMapper((d) => (d.highlight ? color("--found") : fills[d.data.kind](d)))
			.setLabelHandler((d) => `${d.data.name}: ${size(d.data.value)}, ${percent(d.data.value, retained)}`)
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
		const found = stacks.filter((s) => has(s, term, () => [s.pool ?? "", ...s.frames.flatMap((f) => [f.function, place(f)])]));
		const bytes = found.reduce((sum, s) => sum + s.bytes, 0);
		byId("found").textContent = found.length === 0 ? "Nothing found" :
			`${plural(found.length, "call stack")}: ${size(bytes)}, ${percent(bytes, retained)}`;
		shownStacks = new Set(found);
		listStacks();
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
		shownStacks = null;
		listStacks();
	}

	// choose shows what a frame stands for; null is none.
	function choose(d) {
		const panel = byId("frame");
		if (!d || d.data.kind === "root") {
			panel.replaceChildren(element("span", "note", `All: ${size(retained)} in ${plural(stacks.length, "call stack")}. Callers above, allocators below; click a frame to look closer.`));
			if (!byId("search").value.trim()) shownStacks = null;
			listStacks();
			return;
		}
		const blocks = d.data.stacks.reduce((sum, s) => sum + s.objects, 0);
		const lines = [element("div", "name", d.data.name),
			element("div", "amount", `${size(d.data.value)} in ${plural(blocks, "block")}, ${percent(d.data.value, retained)}, ${plural(d.data.stacks.length, "call stack")}`)];
		if (d.data.places) {
			const places = [...d.data.places];
			lines.push(element("div", "note", places.slice(0, 5).join(", ") + (places.length > 5 ? ` and ${places.length - 5} more` : "")));
		}
		panel.replaceChildren(...lines);
		shownStacks = new Set(d.data.stacks);
		listStacks();
	}

	const few = 8; // stacks in the list until all are asked for

	function listStacks() {
		const list = shownStacks ? stacks.filter((s) => shownStacks.has(s)) : stacks;
		byId("stacks").replaceChildren(...list.slice(0, few).map(describe));
		const more = byId("stacks-more"), rest = list.slice(few);
		more.hidden = rest.length === 0;
		more.textContent = `Show ${count(rest.length)} more with ${size(rest.reduce((sum, s) => sum + s.bytes, 0))}`;
		more.onclick = () => {
			byId("stacks").append(...rest.map(describe));
			more.hidden = true;
		};
	}

	function describe(s) {
		const inner = s.frames.find((f) => !isAllocator(f.function)) ?? s.frames[0];
		const about = [plural(s.objects, "block"), s.resource ? `${s.allocator} (${s.resource})` : s.allocator];
		if (s.pool !== null) about.push(`pool ${s.pool}`);
		if (s.slack_bytes > 0) about.push(`of it ${size(s.slack_bytes)} free room`);
		const rows = s.frames.map((f) => element("tr", isAllocator(f.function) ? "allocator" : "",
			element("td", "name", f.function), element("td", "", place(f) + (f.inlined ? " (inlined)" : ""))));
		const item = element("li", "", element("details", "",
			element("summary", "",
				element("span", "bytes", size(s.bytes)), " ", `${percent(s.bytes, retained)} `,
				element("span", "name", inner ? inner.function : "no stack"), " ", element("span", `tag ${s.class}`, s.class), " ",
				element("span", "facts", about.join(", "))),
			element("table", "", element("tbody", "", ...rows))));
		if (!s.complete) item.firstChild.append(element("p", "note", `The stack ends here: ${s.end}`));
		return item;
	}

	function setUpFlame() {
		if (stacks.length === 0) {
			byId("retained-none").hidden = false;
			byId("flame-part").hidden = true;
			return;
		}
		byId("flame-tools").addEventListener("submit", (e) => e.preventDefault());
		byId("search").addEventListener("input", search);
		byId("group").addEventListener("change", drawFlame);
		byId("reset").addEventListener("click", () => chart.resetZoom());
		drawFlame();
	}

	// ---- live memory over time ----

	const start = Date.parse(doc.started);
	const seconds = (time) => (Date.parse(time) - start) / 1000;
	const end = Math.max(seconds(doc.ended), ...doc.series.slice(-1).map((p) => seconds(p.time)));
	const looks = doc.phases.filter((p) => p.live_bytes !== null && p.end !== null);
	const title = (p) => (p.cycle ? `${p.name} ${p.cycle}` : p.name);
	const most = 7; // lines besides the total

	function elapsed(s) {
		if (s === null || s === undefined) return "–";
		const p = (n) => String(n).padStart(2, "0");
		const whole = Math.floor(s);
		const h = Math.floor(whole / 3600), m = Math.floor(whole / 60) % 60;
		if (h >= 48) return `${Math.floor(h / 24)}d ${h % 24}:${p(m)}`;
		if (h) return `${h}:${p(m)}:${p(whole % 60)}`;
		const tenth = s === whole ? "" : (s - whole).toFixed(1).slice(1);
		return `${m}:${p(whole % 60)}${end < 10 ? tenth : ""}`;
	}

	// parts are the live bytes at each look, by allocator or pool, largest first.
	function parts(by) {
		const at = new Map();
		looks.forEach((p, i) => {
			for (const l of p.live) {
				const name = l[by] ?? "not in a pool";
				if (!at.has(name)) at.set(name, new Array(looks.length).fill(0));
				at.get(name)[i] += l.bytes;
			}
		});
		const all = [...at].map(([name, bytes]) => ({ name, bytes })).sort((a, b) => Math.max(...b.bytes) - Math.max(...a.bytes));
		if (all.length <= most) return all;
		const others = new Array(looks.length).fill(0);
		for (const o of all.slice(most - 1)) o.bytes.forEach((b, i) => { others[i] += b; });
		return [...all.slice(0, most - 1), { name: `${all.length - most + 1} others`, bytes: others }];
	}

	// events are the points at which sessions came or went.
	function events() {
		const list = [];
		let ups = 0, downs = 0;
		for (const p of doc.series) {
			if (p.peer_ups > ups) list.push({ x: seconds(p.time), isUp: true, n: p.peer_ups - ups });
			if (p.peer_downs > downs) list.push({ x: seconds(p.time), isUp: false, n: p.peer_downs - downs });
			ups = p.peer_ups;
			downs = p.peer_downs;
		}
		return list;
	}

	const marks = events();
	const notes = doc.notes ?? [];
	const hasBMP = doc.phases.some((p) => Object.keys(p.bmp_counts).length > 0);
	const markName = (up) => (hasBMP ? (up ? "Peer Up" : "Peer Down") : up ? "session up" : "session down");

	// drawPhases shades every second phase and puts its name above.
	function drawPhases(u) {
		const { ctx, bbox } = u;
		ctx.save();
		ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
		ctx.textBaseline = "top";
		let free = bbox.left;
		doc.phases.forEach((p, i) => {
			const left = Math.max(u.valToPos(seconds(p.start), "x", true), bbox.left);
			const next = i + 1 < doc.phases.length ? doc.phases[i + 1].start : p.end ?? doc.ended;
			const right = Math.min(u.valToPos(seconds(next), "x", true), bbox.left + bbox.width);
			if (right <= left) return;
			if (i % 2) {
				ctx.fillStyle = color("--band");
				ctx.fillRect(left, bbox.top, right - left, bbox.height);
			}
			const name = title(p), width = ctx.measureText(name).width, gap = 4 * devicePixelRatio;
			if (left + gap < free || width + 2 * gap > right - left) return;
			ctx.fillStyle = color("--muted");
			ctx.fillText(name, left + gap, bbox.top - 15 * devicePixelRatio);
			free = left + width + 2 * gap;
		});
		ctx.restore();
	}

	// drawMarks puts a line at each Peer Up and Peer Down, and a tick at each note.
	function drawMarks(u) {
		const { ctx, bbox } = u;
		const px = devicePixelRatio;
		ctx.save();
		ctx.beginPath();
		ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
		ctx.clip();
		ctx.lineWidth = px;
		ctx.fillStyle = color("--muted");
		for (const n of notes) ctx.fillRect(Math.round(u.valToPos(seconds(n.time), "x", true)), bbox.top + bbox.height - 12 * px, 2 * px, 12 * px);
		ctx.setLineDash([3 * px, 3 * px]);
		for (const m of marks) {
			const x = Math.round(u.valToPos(m.x, "x", true));
			ctx.strokeStyle = ctx.fillStyle = color(m.isUp ? "--up" : "--down");
			ctx.beginPath();
			ctx.moveTo(x, bbox.top);
			ctx.lineTo(x, bbox.top + bbox.height);
			ctx.stroke();
			const tip = bbox.top + (m.isUp ? 1 : 9) * px, base = bbox.top + (m.isUp ? 9 : 1) * px;
			ctx.beginPath();
			ctx.moveTo(x, tip);
			ctx.lineTo(x - 5 * px, base);
			ctx.lineTo(x + 5 * px, base);
			ctx.fill();
		}
		ctx.restore();
	}

	let plot = null;

	function drawCourse() {
		const by = document.querySelector("input[name=by]:checked").value;
		const box = byId("chart");
		if (plot) plot.destroy();
		plot = null;
		box.replaceChildren();
		const all = parts(by);
		const total = { x: [], y: [] };
		for (const p of doc.series) {
			if (p.live_bytes === null) continue;
			total.x.push(seconds(p.time));
			total.y.push(p.live_bytes);
		}
		const atLooks = looks.map((p) => seconds(p.end));
		if (total.x.length === 0) {
			total.x = atLooks;
			total.y = looks.map((p) => p.live_bytes);
		}
		fillLooks(all, by);
		if (total.x.length === 0) {
			byId("course").hidden = true;
			return;
		}
		const data = uPlot.join([[total.x, total.y], [atLooks, ...all.map((a) => a.bytes)]]);
		const value = (_, v) => (v === null || v === undefined ? "–" : size(v));
		plot = new uPlot({
			width: box.clientWidth,
			height: box.clientWidth < 600 ? 300 : 360,
			padding: [20, null, null, null],
			scales: { x: { time: false, range: (_, from, to) => (from === to ? [from - 1, to + 1] : [from, to]) }, y: { range: (_u, _from, to) => [0, Math.max(to, 1) * 1.1] } },
			axes: [
				{ stroke: color("--muted"), grid: { show: false }, ticks: { stroke: color("--line") }, values: (_, v) => v.map(elapsed), space: 70,
					incrs: [.1, .2, .5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 2419200] },
				{ stroke: color("--muted"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, values: (_, v) => axisSizes(v), size: 72,
					incrs: Array.from({ length: 52 }, (_, i) => 2 ** i) },
			],
			series: [
				{ label: "time", value: (_, v) => elapsed(v) },
				{ label: "live memory", stroke: color("--total"), width: 2, spanGaps: true, points: { show: false }, value },
				...all.map((a, i) => ({
					// Fainter between the looks, where nothing was measured.
					label: printable(a.name), stroke: `${color(`--c${i}`)}b0`, width: 1, dash: [2, 5], spanGaps: true, value,
					points: { show: true, size: 7, fill: color(`--c${i}`), width: 0 },
				})),
			],
			hooks: { drawClear: [drawPhases], draw: [drawMarks] },
			cursor: { drag: { x: true, y: false } },
		}, data, box);
		const sum = (up) => marks.filter((m) => m.isUp === up).reduce((n, m) => n + m.n, 0);
		byId("course-note").textContent = "The line is all live memory as the probes counted it" +
			`; dots are looks, where it is known ${by === "pool" ? "by pool" : "by allocator"}, joined by dashes that are not measured.` +
			(marks.length ? ` Marks: ▲ ${markName(true)} (${count(sum(true))}), ▼ ${markName(false)} (${count(sum(false))}).` : "") +
			(notes.length ? ` Ticks below: ${plural(notes.length, "note")}.` : "") +
			" Drag to look closer.";
	}

	function fillLooks(all, by) {
		const head = element("tr", "", element("th", "", by), ...looks.map((p) => element("th", "", title(p))));
		const row = (name, bytes) => element("tr", "", element("th", "", name), ...bytes.map((b) => element("td", "", size(b))));
		byId("looks").replaceChildren(element("thead", "", head), element("tbody", "", ...all.map((a) => row(a.name, a.bytes)),
			row("live memory", looks.map((p) => p.live_bytes))));
	}

	function setUpCourse() {
		for (const e of document.querySelectorAll("input[name=by]")) e.addEventListener("change", drawCourse);
		byId("course-tools").addEventListener("submit", (e) => e.preventDefault());
		byId("course-reset").addEventListener("click", drawCourse);
		drawCourse();
	}

	setUpFlame();
	setUpCourse();

	// Charts have pixels and colours of their own: they are drawn anew with the
	// page.
	let width = document.documentElement.clientWidth, pending = 0;
	addEventListener("resize", () => {
		clearTimeout(pending);
		pending = setTimeout(() => {
			if (document.documentElement.clientWidth === width) return;
			width = document.documentElement.clientWidth;
			redraw();
		}, 100);
	});
	matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
	function redraw() {
		colors.clear();
		if (chart) drawFlame();
		if (plot) drawCourse();
	}
	document.documentElement.dataset.ready = "true";
})();
