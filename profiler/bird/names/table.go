// SPDX-License-Identifier: Apache-2.0

package names

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"leakprof/profiler/bird/names/internal/hash"
)

//go:embed literals.txt
var literalsText string

// literalTable tells the file that a string literal is from, by hash.Of.
type literalTable map[uint64]string

// file returns the only source file that has a literal, "" if none is known.
func (t literalTable) file(text string) string {
	if !hash.Telling(text) {
		return ""
	}
	return t[hash.Of(text)]
}

var literalTables = sync.OnceValues(func() (map[int]literalTable, error) { return readTables(literalsText) })

// readTables reads the tables of each major version of BIRD.
func readTables(text string) (map[int]literalTable, error) {
	tables := make(map[int]literalTable)
	for n, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "#" {
			continue
		}
		major, err := strconv.Atoi(fields[0])
		if err != nil || len(fields) < 3 {
			return nil, fmt.Errorf("read literals: line %d is not a version, a path, and hashes", n+1)
		}
		if tables[major] == nil {
			tables[major] = make(literalTable)
		}
		for _, field := range fields[2:] {
			h, err := strconv.ParseUint(field, 16, 64)
			if err != nil {
				return nil, fmt.Errorf("read literals: line %d: %w", n+1, err)
			}
			tables[major][h] = fields[1]
		}
	}
	return tables, nil
}
