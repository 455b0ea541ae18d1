// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"

	"leakprof/profiler/plan"
	"leakprof/profiler/plan/prologue"
)

// entryCookie is what a probe at an entry tells its program: see enum cookie in
// abi.h.
func entryCookie(f Function, s plan.Site) (uint64, error) {
	const word, mostDepth = 8, 0xff
	depth := s.Depth / word
	if s.Depth%word != 0 || depth < 0 || depth > mostDepth {
		return 0, fmt.Errorf("rsp is %d bytes below the return address", s.Depth)
	}
	if len(s.Arguments) > mostArguments {
		return 0, fmt.Errorf("%d arguments", len(s.Arguments))
	}
	cookie := uint64(f)<<liveCookieCOOKIE_FUNCTION | uint64(depth)<<liveCookieCOOKIE_DEPTH
	for i, a := range s.Arguments {
		// What is where the calling convention says is read without a detour.
		if !a.Moved() {
			continue
		}
		place, err := argumentPlace(a.Value)
		if err != nil {
			return 0, err
		}
		cookie |= place << argumentShift(i)
	}
	return cookie, nil
}

// mostArguments fit into a cookie.
const mostArguments = 2

func argumentShift(i int) int {
	return int(liveCookieCOOKIE_ARGUMENTS) + i*int(liveCookieARGUMENT_BITS)
}

// argumentPlace encodes where an argument is.
func argumentPlace(v prologue.Value) (uint64, error) {
	if v.Register > prologue.R15 || v.Offset < -prologue.MaxOffset || v.Offset > prologue.MaxOffset {
		return 0, fmt.Errorf("argument in %s", v)
	}
	place := uint64(1)<<liveCookieARGUMENT_GIVEN | uint64(v.Register)<<liveCookieARGUMENT_REGISTER | uint64(uint16(v.Offset))<<liveCookieARGUMENT_OFFSET
	if v.Load {
		place |= 1 << liveCookieARGUMENT_LOAD
	}
	return place, nil
}

// returnCookie is what a probe on a return tells its program.
func returnCookie(f Function, s plan.Site) uint64 {
	return uint64(f)<<liveCookieCOOKIE_FUNCTION | (s.Module.Bias+s.Address)<<liveCookieCOOKIE_ENTRY
}
