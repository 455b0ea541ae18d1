// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strings"
)

// chart is lines over a logarithmic x axis. y begins at 0.
type chart struct {
	title, x, y string
	ticks       []float64 // on the x axis
	tick        func(float64) string
	lines       []line
}

// line is a series, with the spread at each of its points.
type line struct {
	name, color string
	points      []point
}

type point struct {
	x float64
	y spread
}

// Sizes in pixels.
const (
	chartWidth, chartHeight = 720, 400
	marginLeft, marginRight = 70, 20
	marginTop, marginBottom = 50, 60
	plotWidth               = chartWidth - marginLeft - marginRight
	plotHeight              = chartHeight - marginTop - marginBottom
)

// svg draws it. It is on white, so that it can be read on a dark page, too.
func (c chart) svg() string {
	low, high, top := c.bounds()
	step := niceStep(top / 5)
	top = step * math.Ceil(top/step)
	atX := func(x float64) float64 {
		if high == low {
			return marginLeft + plotWidth/2
		}
		return marginLeft + plotWidth*(math.Log(x)-math.Log(low))/(math.Log(high)-math.Log(low))
	}
	atY := func(y float64) float64 { return marginTop + plotHeight*(1-y/top) }

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="12" fill="#222">`+"\n", chartWidth, chartHeight)
	fmt.Fprintf(&b, `<title>%s</title>`+"\n", escaped(c.title))
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", chartWidth, chartHeight)
	fmt.Fprintf(&b, `<text x="%d" y="22" font-size="15" font-weight="bold">%s</text>`+"\n", marginLeft, escaped(c.title))
	for y := 0.0; y <= top+step/2; y += step {
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			marginLeft, atY(y), marginLeft+plotWidth, marginLeft-8, atY(y)+4, short(y))
	}
	for _, x := range c.ticks {
		fmt.Fprintf(&b, `<path d="M%.1f %dv5" stroke="#222"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			atX(x), marginTop+plotHeight, atX(x), marginTop+plotHeight+19, escaped(c.tick(x)))
	}
	fmt.Fprintf(&b, `<path d="M%d %dv%dh%d" fill="none" stroke="#222"/>`+"\n", marginLeft, marginTop, plotHeight, plotWidth)
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", marginLeft+plotWidth/2, chartHeight-15, escaped(c.x))
	fmt.Fprintf(&b, `<text transform="translate(18 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", marginTop+plotHeight/2, escaped(c.y))
	for i, l := range c.lines {
		var path strings.Builder
		for j, p := range l.points {
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(j, 1)], atX(p.x), atY(p.y.Median))
			fmt.Fprintf(&b, `<path d="M%.1f %.1fV%.1f" stroke="%s" stroke-width="1.5" opacity="0.6"/>`+"\n",
				atX(p.x), atY(max(p.y.Min, 0)), atY(p.y.Max), l.color)
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="4" fill="%s"/>`+"\n", atX(p.x), atY(p.y.Median), l.color)
		}
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", path.String(), l.color)
		x := marginLeft + i*plotWidth/max(len(c.lines), 1)
		fmt.Fprintf(&b, `<circle cx="%d" cy="38" r="4" fill="%s"/><text x="%d" y="42">%s</text>`+"\n", x+4, l.color, x+14, escaped(l.name))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// bounds are the least and the greatest x, and the greatest y.
func (c chart) bounds() (low, high, top float64) {
	var xs []float64
	for _, l := range c.lines {
		for _, p := range l.points {
			xs, top = append(xs, p.x), max(top, p.y.Max)
		}
	}
	xs = append(xs, c.ticks...)
	if len(xs) == 0 {
		return 1, 1, 1
	}
	if top <= 0 {
		top = 1
	}
	return slices.Min(xs), slices.Max(xs), top
}

// niceStep is 1, 2 or 5 times a power of ten, and at least v.
func niceStep(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 5} {
		if n*power >= v {
			return n * power
		}
	}
	return 10 * power
}

func escaped(text string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(text))
	return b.String()
}
