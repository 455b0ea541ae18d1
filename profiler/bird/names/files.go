// SPDX-License-Identifier: Apache-2.0

package names

import (
	"fmt"
	"regexp"
)

// mark is what tells a function's file.
type mark struct {
	file   string // "" if nothing does
	source Source
	// names are how many files' names the function refers to.
	names int
}

// sourceFile is a path as BIRD's build has it in __FILE__.
var sourceFile = regexp.MustCompile(`^(conf|filter|lib|nest|proto/[a-z0-9]+|sysdep/[a-z]+)/[A-Za-z0-9_-]+\.[cl]$`)

// interpreted is a source that becomes part of a function elsewhere: of the
// interpreter, in filter/filter.c. It has functions of its own too.
const interpreted = "filter/f-inst.c"

// markOf tells a function's file by the strings it refers to: by the file's own
// name, else by literals that all agree.
func markOf(texts []string, literals literalTable) mark {
	names, own := make(map[string]bool), ""
	from, agree := "", true
	for _, text := range texts {
		if sourceFile.MatchString(text) {
			names[text], own = true, text
		} else if file := literals.file(text); file != "" {
			agree = agree && (from == "" || from == file)
			from = file
		}
	}
	if len(names) == 2 && names[interpreted] {
		delete(names, interpreted)
		for own = range names {
		}
	}
	switch {
	case len(names) == 1:
		return mark{own, ByFileName, 1}
	case len(names) == 0 && from != "" && agree:
		return mark{from, ByLiteral, 0}
	}
	return mark{names: len(names)}
}

// mixed says, and by what, that functions are not together by file, or have code
// of several files in them.
func mixed(marks []mark) string {
	named, several, runs := 0, 0, 0
	files := make(map[string]bool)
	last := ""
	for _, m := range marks {
		if m.names > 1 {
			several++
		}
		if m.source != ByFileName {
			continue
		}
		named++
		if m.file != last {
			runs++
		}
		files[m.file], last = true, m.file
	}
	switch {
	case several*100 > named:
		return fmt.Sprintf("%d of %d functions that name a source file name several", several, named+several)
	case (runs-len(files))*10 > len(files):
		return fmt.Sprintf("functions of %d source files lie in %d groups", len(files), runs)
	}
	return ""
}

// settle drops marks that do not go together with the order of files: each
// file's functions lie in one row. What contradicts it is a literal that has
// moved to another file, or was made there by a macro. Of a file's rows the one
// with the most marks stays; names of files always do.
func settle(marks []mark) {
	type row struct {
		file        string
		first, last int
		weight      int
		certain     bool
	}
	for {
		var rows []row
		for i, m := range marks {
			if m.file == "" {
				continue
			}
			if n := len(rows); n == 0 || rows[n-1].file != m.file {
				rows = append(rows, row{file: m.file, first: i})
			}
			r := &rows[len(rows)-1]
			r.last = i
			r.weight++
			r.certain = r.certain || m.source != ByLiteral
		}
		// The weakest row that contradicts another one goes, one at a time, for
		// without it others may be one row; at first what lies within another
		// file's.
		weakest, within := -1, false
		for i, r := range rows {
			if r.certain {
				continue
			}
			enclosed := i > 0 && i+1 < len(rows) && rows[i-1].file == rows[i+1].file
			again := false
			for j, other := range rows {
				again = again || j != i && other.file == r.file && (other.certain || other.weight >= r.weight)
			}
			if !enclosed && !again {
				continue
			}
			if weakest < 0 || r.weight < rows[weakest].weight || r.weight == rows[weakest].weight && enclosed && !within {
				weakest, within = i, enclosed
			}
		}
		if weakest < 0 {
			return
		}
		for i := rows[weakest].first; i <= rows[weakest].last; i++ {
			marks[i] = mark{}
		}
	}
}

// fill gives functions between two of the same file that file.
func fill(marks []mark) {
	last := -1
	for i, m := range marks {
		if m.file == "" {
			continue
		}
		if last >= 0 && marks[last].file == m.file {
			for j := last + 1; j < i; j++ {
				marks[j] = mark{file: m.file, source: ByNeighbors}
			}
		}
		last = i
	}
}
