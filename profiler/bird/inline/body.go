// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"debug/elf"
	"slices"
	"strings"
)

// Body is code of a function that stands for itself: the function, a clone
// that the compiler specialised, or a part that it split off.
type Body struct {
	Symbol  string // the raw name, e.g. bmp_fire_tx.part.0.lto_priv.0
	Address uint64 // ELF virtual address
	Size    uint64 // bytes, 0 if the symbol does not say
	// Suffixes are what the compiler added to the name, in order, each with
	// its number: part.0, lto_priv.0.
	Suffixes []string
}

// Has reports whether the compiler added the suffix of the kind.
func (b Body) Has(k Suffix) bool {
	return slices.ContainsFunc(b.Suffixes, func(s string) bool {
		kind, _, _ := strings.Cut(s, ".")
		return Suffix(kind) == k
	})
}

// Suffix is a kind of suffix that gcc (12) or clang (14) gives to the name of a
// function.
type Suffix string

const (
	// LTOPrivate: a static function that LTO renamed as another unit has one
	// of the name. Nothing else differs.
	LTOPrivate Suffix = "lto_priv"
	// Part: the rest of a function of which the beginning was inlined. Not
	// every call comes here, and parameters may differ.
	Part Suffix = "part"
	// ISRA: parameters were removed, split or are passed by value.
	ISRA Suffix = "isra"
	// ConstProp: some parameters are constant and no longer passed.
	ConstProp Suffix = "constprop"
	// Cold: code that is rarely run, jumped to and not called.
	Cold Suffix = "cold"
	// LocalAlias: the function by another name, which cannot be preempted.
	LocalAlias Suffix = "localalias"
	// Clone: a clone for a target (target_clones) or by older gcc.
	Clone Suffix = "clone"
	// LLVM: a static function that ThinLTO promoted, with its module's hash.
	LLVM Suffix = "llvm"
	// Unique: -funique-internal-linkage-names.
	Unique Suffix = "__uniq"
	// Number: LLVM's LTO renamed a static function as another has the name.
	Number Suffix = ""
)

// numbered says of each suffix whether a number follows it: for gcc always,
// but cold, which clang numbers only if there are several.
var numbered = map[Suffix]bool{
	LTOPrivate: true, Part: true, ISRA: true, ConstProp: true, Clone: true, LLVM: true, Unique: true,
	Cold: false, LocalAlias: false,
}

// OutOfLine returns, by name, the symbols of the named functions, ordered by
// address. Several bodies of a name may be different functions of different
// units. A name without symbols has no key.
func OutOfLine(f *elf.File, names ...string) map[string][]Body {
	found := make(map[string][]Body)
	var symbols []elf.Symbol
	_ = guard(func() error {
		symbols = definedFunctions(f)
		return nil
	})
	for _, s := range symbols {
		base, rest, _ := strings.Cut(s.Name, ".")
		if !slices.Contains(names, base) {
			continue
		}
		suffixes, ok := splitSuffixes(rest)
		if !ok {
			continue
		}
		b := Body{Symbol: s.Name, Address: s.Value, Size: s.Size, Suffixes: suffixes}
		same := func(o Body) bool { return o.Symbol == b.Symbol && o.Address == b.Address }
		if !slices.ContainsFunc(found[base], same) { // in .symtab and .dynsym
			found[base] = append(found[base], b)
		}
	}
	return found
}

// splitSuffixes splits what follows a name and a dot. It is false if some of it
// is not a suffix that compilers add.
func splitSuffixes(rest string) ([]string, bool) {
	if rest == "" {
		return nil, true
	}
	var suffixes []string
	words := strings.Split(rest, ".")
	for i := 0; i < len(words); i++ {
		word := words[i]
		if isNumber(word) {
			suffixes = append(suffixes, "."+word)
			continue
		}
		needs, known := numbered[Suffix(word)]
		next := i+1 < len(words) && isNumber(words[i+1])
		switch {
		case !known || word == "" || needs && !next:
			return nil, false
		case next:
			word += "." + words[i+1]
			i++
		}
		suffixes = append(suffixes, word)
	}
	return suffixes, true
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
