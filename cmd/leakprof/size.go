// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// sizeFlag is a number of bytes on the command line: 4096, 64k, 10M, 2GB.
type sizeFlag int64

// String gives whole units where there are, as --help shows them.
func (s *sizeFlag) String() string {
	v := int64(*s)
	for i, unit := range []string{"T", "G", "M", "k"} {
		if shift := 40 - 10*i; v > 0 && v&(1<<shift-1) == 0 {
			return strconv.FormatInt(v>>shift, 10) + unit
		}
	}
	return strconv.FormatInt(v, 10)
}

func (s *sizeFlag) Type() string { return "SIZE" }

func (s *sizeFlag) Set(text string) error {
	number := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(strings.ReplaceAll(text, " ", "")), "b"), "i")
	shift := 0
	for unit, bits := range map[string]int{"k": 10, "m": 20, "g": 30, "t": 40} {
		if cut, ok := strings.CutSuffix(number, unit); ok {
			number, shift = cut, bits
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	v = math.Ldexp(v, shift)
	if err != nil || v < 0 || v > 1<<62 || v != v {
		return fmt.Errorf("%q is no size such as 4096, 64k, 10M or 2G", text)
	}
	*s = sizeFlag(v)
	return nil
}
