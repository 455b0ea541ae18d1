// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// shownStack is what one entry of the text stands for: stacks that differ
// only in frames that are not shown are one to the reader.
type shownStack struct {
	DocumentStack
	stacks int
}

// mergeShown puts stacks together that look alike in the text, and sorts the
// result by size; where there is a leak, first by what came in every cycle after
// the first, for that is what a leak is, however small beside memory that came
// once and stays.
func mergeShown(all []DocumentStack, leak bool) []shownStack {
	index := make(map[string]int)
	var merged []shownStack
	for _, s := range all {
		key := appearance(&s)
		i, known := index[key]
		if !known {
			index[key] = len(merged)
			merged = append(merged, shownStack{s, 1})
			continue
		}
		m := &merged[i]
		m.add(&s)
		m.stacks++
	}
	slices.SortStableFunc(merged, func(a, b shownStack) int {
		bySize := cmp.Compare(b.Bytes, a.Bytes)
		if leak {
			return cmp.Or(cmp.Compare(b.EveryCycleBytes, a.EveryCycleBytes), bySize)
		}
		return bySize
	})
	return merged
}

// add makes one of two stacks that are the same to the reader.
func (s *DocumentStack) add(o *DocumentStack) {
	s.Bytes += o.Bytes
	s.Objects += o.Objects
	s.SlackBytes += o.SlackBytes
	s.ReplacedBytes += o.ReplacedBytes
	s.LostBytes += o.LostBytes
	s.HeldBytes += o.HeldBytes
	s.UnknownBytes += o.UnknownBytes
	s.EveryCycleBytes += o.EveryCycleBytes
	s.EveryCycleObjects += o.EveryCycleObjects
}

// appearance is all that the text shows of a stack but its numbers.
func appearance(s *DocumentStack) string {
	var b strings.Builder
	allocator, frames := splitAllocator(s.Frames)
	pool := ""
	if s.Pool != nil {
		pool = *s.Pool
	}
	fmt.Fprintln(&b, s.Allocator, s.Resource, s.Class, pool, s.Complete, s.End, allocator, s.WhyUnknown)
	for i := range s.HeldBy {
		fmt.Fprintln(&b, s.HeldBy[i].sentence())
	}
	for _, f := range frames[:min(len(frames), shownFrames)] {
		fmt.Fprintln(&b, f.Function, f.File, f.Line, f.Inlined, f.Module, f.Source)
	}
	return b.String()
}

// sourceRoot is the directory that all source files of the program have in
// common, with a slash behind it, or "": what can be left out of their paths.
func sourceRoot(stacks []DocumentStack, program string) string {
	root, files := "", 0
	for i := range stacks {
		for _, f := range stacks[i].Frames {
			if f.Module != program || !filepath.IsAbs(f.File) {
				continue
			}
			dir := filepath.Dir(f.File) + "/"
			if files == 0 {
				root = dir
			}
			files++
			for !strings.HasPrefix(dir, root) {
				root = filepath.Dir(strings.TrimSuffix(root, "/"))
				if root != "/" {
					root += "/"
				}
			}
		}
	}
	if root == "/" {
		return ""
	}
	return root
}
