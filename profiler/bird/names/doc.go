// SPDX-License-Identifier: Apache-2.0

// Package names tells what it can of the functions of a stripped BIRD: the names
// of protocols' hooks, and of others the source file.
//
// Hooks are named by the tables that hold them (struct protocol): BIRD calls the
// start hook of BMP bmp_start. A source file is told by what a function refers
// to: the file's own name, as assertions have it, or a string literal that only
// one file of BIRD's releases has (literals.txt). The functions between two of
// the same file are of that file too, since linkers keep together what was
// compiled together.
//
// Link time optimization puts code of one file into functions of another, and
// functions in an order of its own. Where there are signs of it, no file is told.
package names

//go:generate sh -c "go run ./internal/literals -repository $BIRD_REPOSITORY > literals.txt"
