// SPDX-License-Identifier: Apache-2.0
"use strict";
// The page draws itself, and again when it changes: charts have pixels and
// colours of their own.
(() => {
	retained.setUp();
	course.setUp();

	function redraw() {
		page.forgetColors();
		retained.redraw();
		course.redraw();
	}
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
	document.documentElement.dataset.ready = "true";
})();
