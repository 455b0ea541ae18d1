// SPDX-License-Identifier: Apache-2.0

package symbol

import "testing"

func TestOrigin(t *testing.T) {
	for _, c := range []struct {
		frame Frame
		want  string
	}{
		{Frame{Function: "[stack not kept]"}, ""},
		{Frame{Source: SourceAddress}, OriginAddress},
		{Frame{Source: SourceAddress, File: "nest/proto.c"}, OriginFileOnly},
		{Frame{Source: SourceFound}, OriginStructure},
		{Frame{Source: SourceFound, File: "proto/bmp/bmp.c"}, OriginStructure},
		{Frame{Source: SourcePLT}, OriginSymbol},
		{Frame{Source: SourceDynamic}, OriginSymbol},
		{Frame{Source: SourceMini}, OriginSymbol},
		{Frame{Source: SourceSymbol}, OriginSymbol},
		{Frame{Source: SourceSymbol, Separate: true}, OriginDebugFile},
		{Frame{Source: SourceDWARF}, OriginSymbol},
		{Frame{Source: SourceDWARF, Separate: true}, OriginDebugFile},
		{Frame{Source: SourceInline}, OriginInline},
		{Frame{Source: SourceInline, Separate: true}, OriginInline},
	} {
		if got := c.frame.Origin(); got != c.want {
			t.Errorf("%+v is by %q, want %q", c.frame, got, c.want)
		}
	}
}
