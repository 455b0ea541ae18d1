// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"strings"
	"testing"
)

// TestPrograms compares every instruction of programs whose debug information
// was made in many ways with two other symbolizers, and looks for the chains that are known
// from the source.
func TestPrograms(t *testing.T) {
	tests := []struct{ compiler, flags string }{
		{"gcc", "-g -gdwarf-5 -O0 -fPIE -pie"},
		{"gcc", "-g -gdwarf-4 -O0 -fno-pie -no-pie"},
		{"gcc", "-g -gdwarf-5 -O1 -fno-pie -no-pie"},
		{"gcc", "-g -gdwarf-4 -O2 -fPIE -pie"},
		{"gcc", "-g -gdwarf-5 -O2 -fPIE -pie -fcf-protection=full"},
		{"gcc", "-g -gdwarf-5 -O3 -fPIE -pie -gz"},
		{"gcc", "-g -gdwarf-4 -O3 -fno-pie -no-pie -gz=zlib-gnu"},
		{"gcc", "-g -gdwarf-4 -gdwarf64 -O2 -fPIE -pie"},
		{"gcc", "-g -gdwarf-5 -gdwarf64 -O2 -fPIE -pie"},
		{"gcc", "-g -gdwarf-5 -O2 -fPIE -pie -ffunction-sections -Wl,--gc-sections"},
		{"gcc", "-g -gdwarf-4 -O2 -fno-pie -no-pie -ffunction-sections -Wl,--gc-sections -Wl,-z,noseparate-code"},
		{"gcc", "-g -gdwarf-5 -O2 -fPIE -pie -flto -DLTO"},
		{"gcc", "-g -gdwarf-4 -O2 -fno-pie -no-pie -flto -flto-partition=1to1 -DLTO"},
		{"gcc", "-g -gdwarf-5 -O3 -fPIE -pie -flto -flto-partition=max -DLTO -gz"},
		{"clang", "-g -gdwarf-5 -O0 -fPIE -pie"},
		{"clang", "-g -gdwarf-4 -O1 -fno-pie -no-pie"},
		{"clang", "-g -gdwarf-5 -O2 -fPIE -pie -gz"},
		{"clang", "-g -gdwarf-4 -O3 -fPIE -pie -ffunction-sections -Wl,--gc-sections"},
		{"clang", "-g -gdwarf-5 -O2 -fPIE -pie -flto -DLTO"},
		{"clang", "-g -gdwarf-4 -O2 -fno-pie -no-pie -flto -DLTO"},
	}
	for _, test := range tests {
		t.Run(test.compiler+" "+test.flags, func(t *testing.T) {
			t.Parallel()
			path := build(t, test.compiler, test.flags)
			compare(t, path, llvmSymbolizer)
			// See difference for what addr2line cannot read.
			dwarf5 := strings.Contains(test.flags, "-gdwarf-5")
			if !dwarf5 || test.compiler != "clang" && !strings.Contains(test.flags, "-gdwarf64") {
				compare(t, path, addr2line)
			}
			m := open(t, path)
			if !m.HasDWARF() || !m.HasLines() || !m.HasSymbols() {
				t.Fatalf("HasDWARF %v (%v), HasLines %v, HasSymbols %v",
					m.HasDWARF(), m.DWARFError(), m.HasLines(), m.HasSymbols())
			}
			_, returns := instructions(t, path)
			for _, chain := range chains {
				hasChain(t, m, returns, chain)
			}
			if strings.Contains(test.flags, "-DLTO") {
				hasChain(t, m, returns, acrossFiles)
			}
		})
	}
}
