// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"leakprof/profiler/bird/inline"
	"leakprof/profiler/bird/structure"
)

// describe puts sites into a line: function, address, where it is a copy, and
// whether a program runs on entry and return.
func describe(sites []Site) string {
	var words []string
	for _, s := range sites {
		word := fmt.Sprintf("%s@%x", s.Function, s.Address)
		if s.Into != "" {
			word += ":" + s.Into
		}
		if s.Entry {
			word += "+entry"
		}
		if s.Return {
			word += "+return"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func body(name string, address uint64) Function {
	return Function{Name: name, Address: address, FoundBy: ByStructure, Confidence: structure.High}
}

func part(name string, address uint64) Function {
	f := body(name, address)
	f.Part = true
	return f
}

func copyOf(name, into string) copied {
	return copied{function: name, into: into, address: 0x99, register: -1, by: ByStructure, works: true}
}

// TestLayers: which sites are chosen for a layer, or why none are.
func TestLayers(t *testing.T) {
	exe := openModule(t, "/proc/self/exe")
	low, altered := body("sl_alloc", 1), body("isl_alloc", 1)
	low.Confidence = structure.Low
	altered.altered = true
	idle := copyOf("sl_alloc", "f")
	idle.works = false
	inRDI := copyOf("free_page", "f")
	inRDI.register = 5
	pages := []Function{body("alloc_page", 1), body("free_page", 2)}
	// A copy at 0x200 of which some calls do not pass the entry, with a page put
	// on a list at 0x210 and 0x220; and others of which less is told.
	rotated := copied{function: "free_page", into: "f", address: 0x200, register: -1, by: ByInline, ranges: [][2]uint64{{0x200, 0x218}, {0x220, 0x228}}, doubt: "a way"}
	elsewhere, vague, plain := rotated, rotated, rotated
	elsewhere.ranges = [][2]uint64{{0x300, 0x400}}
	vague.ranges = [][2]uint64{{0x230, 0x240}}
	plain.ranges, plain.doubt = nil, ""
	puts := func() []structure.InlineSite {
		return []structure.InlineSite{{Address: 0x210, Register: 3}, {Address: 0x220, Register: 12}, {Address: 0x238, Register: -1}}
	}

	slabs := func(s *survey) ([]Site, error) { return s.slabSites() }
	multi := func(s *survey) ([]Site, error) {
		sites, byPage, _ := s.multislabSites()
		if len(byPage) > 0 {
			return sites, errors.New(strings.Join(byPage, "; "))
		}
		return sites, nil
	}
	pageSites := func(s *survey) ([]Site, error) {
		taken, returned, err := s.pageSites()
		return append(taken, returned...), err
	}
	linpools := func(s *survey) ([]Site, error) {
		sites, _, err := s.linpoolSites()
		return sites, err
	}
	for _, c := range []struct {
		name      string
		layer     func(*survey) ([]Site, error)
		functions []Function
		copies    []copied
		want      string // sites, or a part of the error
	}{
		{"one sl_alloc", slabs, []Function{body("sl_alloc", 1)}, nil, "sl_alloc@1+return"},
		{"wrapper and part", slabs, []Function{body("sl_alloc", 1), part("sl_alloc", 2)}, nil, "sl_alloc@2+return"},
		{"part, and copies of the wrapper", slabs, []Function{part("sl_alloc", 2)}, []copied{idle}, "sl_alloc@2+return"},
		{"not certain", slabs, []Function{low}, nil, "not found for certain"},
		{"none", slabs, []Function{body("sl_free", 1)}, nil, "has no function sl_alloc"},
		{"copy in sl_allocz", slabs, []Function{body("sl_alloc", 1), body("sl_allocz", 2)}, []copied{copyOf("sl_alloc", "sl_allocz")},
			"sl_alloc@1+return sl_alloc@2:sl_allocz+return"},
		{"copy in sl_allocz, which is inlined", slabs, []Function{body("sl_alloc", 1)}, []copied{copyOf("sl_alloc", "sl_allocz")}, "inlined into sl_allocz"},
		{"copies elsewhere", slabs, []Function{body("sl_alloc", 1)}, []copied{copyOf("sl_alloc", "f"), copyOf("sl_alloc", "g"), copyOf("sl_alloc", "h")},
			"inlined into f, g and 1 more"},

		{"BIRD without mslabs", multi, []Function{body("msl_alloc", 1)}, nil, ""},
		{"mslab", multi, []Function{body("mslab_free", 1), body("msl_alloc", 2), body("msl_alloc_from_page", 3)}, nil, "msl_alloc@2+return"},
		{"msl_alloc inlined", multi, []Function{body("mslab_free", 1), body("msl_alloc_from_page", 3)}, nil, "msl_alloc_from_page@3+return"},
		{"copy of msl_alloc", multi, []Function{body("mslab_free", 1), body("msl_alloc", 2), body("msl_alloc_from_page", 3)},
			[]copied{copyOf("msl_alloc", "f")}, "msl_alloc_from_page@3+return"},
		{"no function of mslabs", multi, []Function{body("mslab_free", 1)}, nil, "objects of mslabs by their page alone"},
		{"islab", multi, []Function{body("islab_free", 1), body("isl_alloc", 2)}, nil, "isl_alloc@2+entry+return"},
		{"isl_alloc with other arguments", multi, []Function{body("islab_free", 2), altered}, nil, "argument cannot be told"},

		{"pages", pageSites, pages, nil, "alloc_page@1+entry+return free_page@2+entry"},
		{"free_page inlined", pageSites, pages, []copied{inRDI}, "alloc_page@1+entry+return free_page@2+entry free_page@99:f+entry"},
		{"free_page inlined, argument unknown", pageSites, pages, []copied{copyOf("free_page", "f")}, "inlined into f"},
		{"free_page inlined, begun at several places", pageSites, pages, []copied{rotated},
			"alloc_page@1+entry+return free_page@2+entry free_page@210:f+entry free_page@220:f+entry"},
		{"free_page inlined, put on a list elsewhere", pageSites, pages, []copied{elsewhere}, "inlined into f, where some calls may not be seen: a way"},
		{"free_page inlined, put from no register", pageSites, pages, []copied{vague}, "inlined into f, where some calls may not be seen: a way"},
		{"free_page inlined, argument optimized out", pageSites, pages, []copied{plain}, "inlined into f, where its argument cannot be told"},
		{"free_page inlined where pages are new", pageSites, pages, []copied{copyOf("free_page", "page_fill_hot")}, "alloc_page@1+entry+return free_page@2+entry"},
		{"alloc_page inlined", pageSites, pages, []copied{copyOf("alloc_page", "f")}, "inlined into f"},
		{"free_page split", pageSites, []Function{body("alloc_page", 1), part("free_page", 2)}, nil, "free_page was split"},
		{"no free_page", pageSites, pages[:1], nil, "has no function free_page"},

		{"linpools", linpools, []Function{body("lp_alloc", 1), body("lp_allocu", 2), body("lp_allocz", 3)}, nil, "lp_alloc@1+entry+return lp_allocu@2+entry+return"},
		{"copies in linpool functions", linpools, []Function{body("lp_alloc", 1), body("lp_allocu", 2), body("lp_allocz", 3)},
			[]copied{copyOf("lp_alloc", "lp_allocu"), copyOf("lp_alloc", "lp_allocz"), copyOf("lp_alloc", "lp_save")},
			"lp_alloc@1+entry+return lp_allocu@2+entry+return lp_allocz@3+entry+return"},
		{"copies elsewhere", linpools, []Function{body("lp_alloc", 1), body("lp_allocu", 2)}, []copied{copyOf("lp_alloc", "f"), copyOf("lp_alloc", "f")},
			"lp_alloc is inlined at 2 places"},
		{"copies of lp_allocu", linpools, []Function{body("lp_alloc", 1), body("lp_allocu", 2)}, []copied{copyOf("lp_allocu", "f")}, "lp_allocu is inlined at 1 places"},
		{"no lp_allocu", linpools, []Function{body("lp_alloc", 1)}, nil, "has no function lp_allocu"},
	} {
		sites, err := c.layer(&survey{exe: exe, functions: c.functions, copies: c.copies, puts: puts})
		got := describe(sites)
		if err != nil {
			got = err.Error()
			if strings.Contains(got, c.want) && c.want != "" {
				continue
			}
		}
		if got != c.want {
			t.Errorf("%s: %s\nwant %s", c.name, got, c.want)
		}
	}
}

// TestUncertainCopies: a search that failed says nothing of copies, so the
// pages are not covered.
func TestUncertainCopies(t *testing.T) {
	s := &survey{
		exe: openModule(t, "/proc/self/exe"), err: errors.New("no code"),
		functions: []Function{body("alloc_page", 1), body("free_page", 2)},
	}
	if _, _, err := s.pageSites(); !errors.Is(err, s.err) {
		t.Errorf("error %v, want %v", err, s.err)
	}
}

// TestInstances: the argument of a copy counts only where every call comes by
// with it in a register; copies that a probe on the function sees are left out.
func TestInstances(t *testing.T) {
	good := inline.Instance{
		Into: "f", Entry: 0x10, By: inline.EntryView, Once: true, Decoded: true,
		Args: []inline.Arg{{Kind: inline.Register, Register: 3}},
	}
	for _, c := range []struct {
		name   string
		change func(*inline.Instance)
		want   int // register; -2 for no copy
	}{
		{"as gcc marks it", func(*inline.Instance) {}, 3},
		{"within itself", func(i *inline.Instance) { i.Self = true }, -2},
		{"within another copy", func(i *inline.Instance) { i.Nested = true }, -2},
		{"not every call passes", func(i *inline.Instance) { i.Once = false }, -1},
		{"no entry view", func(i *inline.Instance) { i.By = inline.EntryPC }, -1},
		{"not an instruction", func(i *inline.Instance) { i.Decoded = false }, -1},
		{"a problem", func(i *inline.Instance) { i.Problem = "p" }, -1},
		{"no argument", func(i *inline.Instance) { i.Args = nil }, -1},
		{"argument in memory", func(i *inline.Instance) { i.Args = []inline.Arg{{Kind: inline.Memory, Register: 3}} }, -1},
		{"argument is a sum", func(i *inline.Instance) { i.Args = []inline.Arg{{Kind: inline.Register, Register: 3, Offset: 8}} }, -1},
		{"argument in no register", func(i *inline.Instance) { i.Args = []inline.Arg{{Kind: inline.Register, Register: inline.CFA}} }, -1},
		{"argument in a vector register", func(i *inline.Instance) { i.Args = []inline.Arg{{Kind: inline.Register, Register: 17}} }, -1},
	} {
		in := good
		c.change(&in)
		s := &survey{exe: openModule(t, "/proc/self/exe")}
		s.addInstances(map[string][]inline.Instance{"free_page": {in}})
		got := -2
		if len(s.copies) > 0 {
			got = s.copies[0].register
		}
		if got != c.want {
			t.Errorf("%s: register %d, want %d", c.name, got, c.want)
		}
	}
}
