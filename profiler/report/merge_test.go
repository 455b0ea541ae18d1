// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"testing"
)

func frames(names ...string) []DocumentFrame {
	var all []DocumentFrame
	for i, n := range names {
		all = append(all, DocumentFrame{Function: n, Module: "bird", File: "/src/bird/lib/" + n + ".c", Line: i + 1})
	}
	return all
}

func TestMergeShown(t *testing.T) {
	long := []string{"malloc", "a", "b", "c", "d", "e", "f"}
	stacks := []DocumentStack{
		{Bytes: 100, Objects: 1, Allocator: "mb", Complete: true, Frames: frames("malloc", "x")},
		{Bytes: 60, Objects: 2, SlackBytes: 5, Allocator: "mb", Complete: true, Frames: frames(append(long, "g")...)},
		{Bytes: 50, Objects: 3, SlackBytes: 1, Allocator: "mb", Complete: true, Frames: frames(append(long, "h")...)},
		{Bytes: 40, Objects: 4, Allocator: "malloc", Complete: true, Frames: frames(append(long, "g")...)},
	}
	got := ""
	for _, s := range mergeShown(stacks, false) {
		got += fmt.Sprintf("%d bytes %d objects %d slack %d stacks %s; ", s.Bytes, s.Objects, s.SlackBytes, s.stacks, s.Allocator)
	}
	want := "110 bytes 5 objects 6 slack 2 stacks mb; 100 bytes 1 objects 0 slack 1 stacks mb; 40 bytes 4 objects 0 slack 1 stacks malloc; "
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSourceRoot(t *testing.T) {
	in := func(files ...string) []DocumentStack {
		var s DocumentStack
		for _, f := range files {
			s.Frames = append(s.Frames, DocumentFrame{Module: "bird", File: f})
		}
		return []DocumentStack{s}
	}
	for _, c := range []struct {
		name   string
		stacks []DocumentStack
		want   string
	}{
		{"two directories", in("/src/bird/lib/a.c", "/src/bird/proto/bmp/b.c"), "/src/bird/"},
		{"one directory", in("/src/bird/lib/a.c", "/src/bird/lib/b.c"), "/src/bird/lib/"},
		{"alike names", in("/src/bird/lib/a.c", "/src/bird/library/b.c"), "/src/bird/"},
		{"nothing in common", in("/a/b.c", "/c/d.c"), ""},
		{"relative", in("lib/a.c"), ""},
		{"none", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			other := DocumentStack{Frames: []DocumentFrame{{Module: "libc.so.6", File: "/elsewhere/malloc.c"}}}
			if got := sourceRoot(append(c.stacks, other), "bird"); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// TestMergeShownOrder: what comes in every cycle is the answer where there is a
// leak, and else what is most.
func TestMergeShownOrder(t *testing.T) {
	stacks := []DocumentStack{{Allocator: "a", Bytes: 100, EveryCycleBytes: 1}, {Allocator: "b", Bytes: 10, EveryCycleBytes: 3}, {Allocator: "c", Bytes: 1000}}
	for leak, want := range map[bool]string{true: "bac", false: "cab"} {
		got := ""
		for _, s := range mergeShown(stacks, leak) {
			got += s.Allocator
		}
		if got != want {
			t.Errorf("leak %t: %s, want %s", leak, got, want)
		}
	}
}
