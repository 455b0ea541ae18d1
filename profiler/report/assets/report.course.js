// SPDX-License-Identifier: Apache-2.0
"use strict";
// Live memory over time.
const course = (() => {
	const { doc, byId, color, element, printable, size, axisSizes, count, plural, classes } = page;
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

	// parts are the live bytes at each look, by allocator, pool or class, largest
	// first; null where nobody looked for pointers.
	function parts(by) {
		if (by === "class") return classes.map((c) => ({ name: c, bytes: looks.map((p) => p[`${c}_bytes`] ?? null) }));
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

	// spans are what is shaded in turn: the phases, or where there are many the
	// cycles.
	function spans() {
		const from = (p) => seconds(p.start);
		if (doc.phases.length <= 4 * fewCycles + 1) return doc.phases.map((p) => ({ name: title(p), short: "", from: from(p) }));
		const all = [];
		for (const p of doc.phases) {
			if (all.at(-1)?.cycle !== p.cycle) all.push({ cycle: p.cycle, name: p.cycle ? `cycle ${p.cycle}` : title(p), short: p.cycle ? String(p.cycle) : "", from: from(p) });
		}
		return all;
	}
	const fewCycles = 3; // whose phases have names
	const shaded = spans();

	// drawSpans shades every second one and puts its name above, as far as there is
	// room for it.
	function drawSpans(u) {
		const { ctx, bbox } = u;
		ctx.save();
		ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
		ctx.textBaseline = "top";
		let free = bbox.left;
		shaded.forEach((s, i) => {
			const left = Math.max(u.valToPos(s.from, "x", true), bbox.left);
			const right = Math.min(u.valToPos(shaded[i + 1]?.from ?? end, "x", true), bbox.left + bbox.width);
			if (right <= left) return;
			if (i % 2) {
				ctx.fillStyle = color("--band");
				ctx.fillRect(left, bbox.top, right - left, bbox.height);
			}
			const gap = 4 * devicePixelRatio;
			const name = [s.name, s.short].find((n) => ctx.measureText(n).width + 2 * gap <= right - left);
			if (!name || left + gap < free) return;
			ctx.fillStyle = color("--muted");
			ctx.fillText(name, left + gap, bbox.top - 15 * devicePixelRatio);
			free = left + ctx.measureText(name).width + 2 * gap;
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
			hooks: { drawClear: [drawSpans], draw: [drawMarks] },
			cursor: { drag: { x: true, y: false } },
		}, data, box);
		const sum = (up) => marks.filter((m) => m.isUp === up).reduce((n, m) => n + m.n, 0);
		byId("course-note").textContent = "The line is all live memory as the probes counted it" +
			`; dots are looks, where it is known by ${by}, joined by dashes that are not measured.` +
			(marks.length ? ` Marks: ▲ ${markName(true)} (${count(sum(true))}), ▼ ${markName(false)} (${count(sum(false))}).` : "") +
			(notes.length ? ` Ticks below: ${plural(notes.length, "note")}.` : "") +
			" Drag to look closer.";
	}

	function fillLooks(all, by) {
		const head = element("tr", "", element("th", "", by), ...looks.map((p) => element("th", "", title(p))));
		const row = (name, bytes) => element("tr", "", element("th", "", name), ...bytes.map((b) => element("td", "", b === null ? "–" : size(b))));
		byId("looks").replaceChildren(element("thead", "", head), element("tbody", "", ...all.map((a) => row(a.name, a.bytes)),
			row("live memory", looks.map((p) => p.live_bytes))));
	}

	function setUpCourse() {
		byId("by-class").hidden = looks.every((p) => (p.lost_bytes ?? null) === null);
		for (const e of document.querySelectorAll("input[name=by]")) e.addEventListener("change", drawCourse);
		byId("course-tools").addEventListener("submit", (e) => e.preventDefault());
		byId("course-reset").addEventListener("click", drawCourse);
		drawCourse();
	}

	return { setUp: setUpCourse, redraw: () => { if (plot) drawCourse(); } };
})();
