// SPDX-License-Identifier: Apache-2.0
"use strict";
// The retained stacks as a list: what is chosen of them, and each in words.
const stackList = (() => {
	const { doc, byId, element, size, count, plural, percent, place, named, told, isAllocator, classes } = page;

	const few = 8; // stacks in the list until all are asked for
	const chosen = new Set(classes);
	let steadyOnly = false;

	// bytes is what a stack retains, of the classes that are chosen; a stack that
	// retains nothing, net, is not shown.
	function bytes(s) {
		if (steadyOnly && !(s.every_cycle_objects > 0)) return 0;
		if (chosen.size === classes.length) return Math.max(0, s.bytes);
		return classes.reduce((sum, c) => sum + part(s, c), 0);
	}

	// part is what of a stack is of a class, 0 where that is not chosen.
	function part(s, c) { return chosen.has(c) ? Math.max(0, s[`${c}_bytes`]) : 0; }

	// shown are the stacks that are chosen, largest first; where there is a leak,
	// first what came in every cycle after the first, for that is what a leak is,
	// however small.
	function shown() {
		const every = (s) => (doc.verdict === "leak" ? s.every_cycle_bytes ?? 0 : 0);
		return doc.stacks.filter((s) => bytes(s) > 0).sort((a, b) => every(b) - every(a) || bytes(b) - bytes(a));
	}

	const sum = (stacks) => stacks.reduce((total, s) => total + bytes(s), 0);

	// tags say what of a stack is lost, held or neither for certain.
	function tags(s) {
		const parts = classes.filter((c) => s[`${c}_bytes`] > 0);
		if (parts.length < 2) return [element("span", `tag ${s.class}`, s.class)];
		return parts.flatMap((c) => [element("span", `tag ${c}`, `${c} ${size(s[`${c}_bytes`])}`), " "]);
	}

	// caller is the function that wanted the memory.
	const caller = (frames) => frames.find((f) => !isAllocator(f.function)) ?? frames[0];

	function holder(h) {
		const by = h.frames.length > 0 ? caller(h.frames) : null;
		const at = by && by.file ? ` (${place(by).replace(/.*\//s, "")})` : "";
		return h.what + (by && !by.function.startsWith("[") ? `, allocated by ${by.function}${at}` : "");
	}

	// share is of the objects that were looked at.
	const share = (h) => (h.share < 1 ? `: ${(100 * h.share).toFixed(0)}% of those looked at` : "");

	function frameTable(frames) {
		return element("table", "", element("tbody", "", ...frames.map((f) => {
			const row = element("tr", isAllocator(f.function) ? "allocator" : "",
				element("td", "name", f.function), element("td", "", place(f) + (f.inlined ? " (inlined)" : "") + told(f)));
			row.title = named(f);
			return row;
		})));
	}

	function describe(s, total) {
		const inner = caller(s.frames);
		const about = [plural(s.objects, "block"), s.resource ? `${s.allocator} (${s.resource})` : s.allocator];
		if (s.pool !== null) about.push(`pool ${s.pool}`);
		if (s.every_cycle_objects > 0) about.push(`${plural(s.every_cycle_objects, "block")} more in each cycle after the first`);
		if (s.slack_bytes > 0) about.push(`of it ${size(s.slack_bytes)} free room`);
		if (s.replaced_bytes > 0) about.push(`of it ${size(s.replaced_bytes)} in the place of what other stacks held`);
		const summary = element("summary", "",
			element("span", "bytes", size(bytes(s))), " ", `${percent(bytes(s), total)} `,
			element("span", "name", inner ? inner.function : "no stack"), " ", ...tags(s), " ",
			element("span", "facts", about.join(", ")));
		if (s.held_by.length > 0) {
			const rest = s.held_by.length - 1;
			summary.append(element("div", "holder", `held by ${holder(s.held_by[0])}${share(s.held_by[0])}${rest > 0 ? `, and ${count(rest)} more` : ""}`));
		}
		if (s.why_unknown) summary.append(element("div", "holder", `not known: ${s.why_unknown}`));
		const details = element("details", "", summary, frameTable(s.frames));
		if (!s.complete) details.append(element("p", "note", `The stack ends here: ${s.end}`));
		for (const h of s.held_by) {
			details.append(element("p", "held-by", element("span", "tag held", "held by"), ` ${holder(h)}${share(h)}`));
			if (h.frames.length > 0) details.append(frameTable(h.frames));
		}
		return element("li", "", details);
	}

	// draw lists stacks, the first few at once.
	function draw(stacks, total) {
		byId("stacks").replaceChildren(...stacks.slice(0, few).map((s) => describe(s, total)));
		const more = byId("stacks-more"), rest = stacks.slice(few);
		more.hidden = rest.length === 0;
		more.textContent = `Show ${count(rest.length)} more with ${size(sum(rest))}`;
		more.onclick = () => {
			byId("stacks").append(...rest.map((s) => describe(s, total)));
			more.hidden = true;
		};
	}

	// setUpChoice shows what each choice stands for; changed is called after one.
	function setUpChoice(changed) {
		let known = 0;
		for (const c of classes) {
			const all = doc.stacks.reduce((total, s) => total + Math.max(0, s[`${c}_bytes`]), 0);
			if (all > 0) known++;
			const box = document.querySelector(`#choice input[value=${c}]`);
			box.parentElement.querySelector("b").textContent = size(all);
			box.disabled = all === 0;
			box.addEventListener("change", () => {
				if (box.checked) chosen.add(c); else chosen.delete(c);
				changed();
			});
		}
		const steady = doc.stacks.filter((s) => s.every_cycle_objects > 0);
		const box = byId("steady");
		box.parentElement.hidden = steady.length === 0;
		box.parentElement.querySelector("b").textContent = plural(steady.length, "call stack");
		box.addEventListener("change", () => {
			steadyOnly = box.checked;
			changed();
		});
		byId("choice").hidden = known === 0 && steady.length === 0;
	}

	return { bytes, part, shown, sum, draw, setUpChoice };
})();
