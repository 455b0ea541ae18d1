// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

var update = flag.Bool("update", false, "write words.txt and the golden files anew")

// TestWords: what leakprof can say in a report can be read in a bundle. Some new
// words may be missing: they would be replaced, which tells nothing.
func TestWords(t *testing.T) {
	said := vocabulary(t)
	if *update {
		var b strings.Builder
		width := 0
		for _, w := range slices.Sorted(maps.Keys(said)) {
			if width += len(w) + 1; width > 120 {
				b.WriteString("\n")
				width = len(w) + 1
			} else if b.Len() > 0 {
				b.WriteString(" ")
			}
			b.WriteString(w)
		}
		if err := os.WriteFile("words.txt", []byte(b.String()+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	var missing []string
	for _, w := range slices.Sorted(maps.Keys(said)) {
		if !ownWords[w] {
			missing = append(missing, w)
		}
	}
	if len(missing)*50 > len(said) {
		t.Errorf("%d of %d words that leakprof says are not in words.txt, such as %v: go test ./profiler/report/redact -run TestWords -update",
			len(missing), len(said), missing[:min(len(missing), 20)])
	}
}

var (
	aWord = regexp.MustCompile(`[\p{L}_][\p{L}\p{N}_]*`)
	verbs = regexp.MustCompile(`%[-+# 0]*[0-9*]*(?:\.[0-9*]+)?(?:\[[0-9]+\])?[a-zA-Z%]`)
)

// resources are BIRD's resource classes (struct resclass) of more than a word that
// leakprof does not itself speak of.
var resources = []string{
	"Attribute class reference", "BFD request reference", "BGP Listen Request", "BMP TX buffers", "CLI TX buffers", "Custom attribute", "FakeSlab",
	"Publisher", "Routing table", "Subscriber",
}

// vocabulary returns the words in the strings of the packages from which the
// text of a report comes, in BIRD's pools, and in the kernel's errors.
func vocabulary(t *testing.T) map[string]bool {
	t.Helper()
	said := make(map[string]bool)
	add := func(s string) {
		for _, w := range aWord.FindAllString(verbs.ReplaceAllString(s, " "), -1) {
			said[w] = true
		}
	}
	for _, root := range []string{"../..", "../../../collector"} {
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir():
				if d.Name() == "redact" || d.Name() == "testdata" || d.Name() == "internal" {
					return fs.SkipDir
				}
				return nil
			case !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.ImportSpec:
					return false
				case *ast.Field:
					n.Tag = nil
				case *ast.BasicLit:
					if n.Kind == token.STRING {
						s, _ := strconv.Unquote(n.Value)
						add(s)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for p := range pools {
		add(p)
	}
	for _, c := range resources {
		add(c)
	}
	for _, p := range poolTemplates {
		add(p.before + p.after)
	}
	for e := syscall.Errno(1); e < 134; e++ {
		add(e.Error())
	}
	add("context canceled deadline exceeded timeout EOF dial tcp lookup no such host http https unix use of closed network connection x86_64")
	return said
}
