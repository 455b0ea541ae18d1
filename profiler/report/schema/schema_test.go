// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"strings"
	"testing"
)

const page = `# Page

| ` + "`outside`" + ` | string | of the table |

## report.json

| field | type | meaning |
|---|---|---|
| ` + "`a`" + ` | number | |
| ` + "`b`, `c`" + ` | string or null | |
| ` + "`t`" + ` | time | |
| ` + "`l[]`" + ` | objects or absent | |
| ` + "`l[].x`, `.y`" + ` | bool | |
| ` + "`l[].m`" + ` | numbers by name | |
| ` + "`l[].s[]`" + ` | strings | |
| ` + "`reconciliation`" + ` | object or null | |
| ` + "`reconciliation.phases[]`" + ` | objects | |
| ` + "`….n`" + ` | number or absent | |

## Next

| ` + "`a`" + ` | string | |
`

func TestValidate(t *testing.T) {
	s, err := Parse([]byte(page))
	if err != nil {
		t.Fatal(err)
	}
	const good = `{"a":1,"b":null,"c":"","t":"2026-03-01T12:00:00.5Z","l":[{"x":true,"y":false,"m":{"k":1},"s":["z"]}],"reconciliation":{"phases":[{"n":2},{}]}}`
	if err := s.Validate([]byte(good)); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{`"a":1,`, ``, ".a is missing"},
		{`"a":1`, `"a":null`, ".a: <nil> is no number"},
		{`"a":1`, `"a":"1"`, ".a: 1 is no number"},
		{`"a":1`, `"a":1,"outside":"x"`, ".outside is not documented"},
		{`T12`, ` 12`, "is no time"},
		{`"l":[`, `"l":[7,`, ".l[0]: 7 is no object"},
		{`"x":true`, `"x":0`, ".l[0].x: 0 is no bool"},
		{`"y":false,`, ``, ".l[0].y is missing"},
		{`"k":1`, `"k":"1"`, ".l[0].m: map[k:1] is no numbers by name"},
		{`"s":["z"]`, `"s":"z"`, ".l[0].s: string is no list"},
		{`"n":2`, `"n":2,"o":3`, ".reconciliation.phases[0].o is not documented"},
		{`{"a":1`, `{"a"`, "invalid character"},
	} {
		in := strings.Replace(good, c.old, c.new, 1)
		if err := s.Validate([]byte(in)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", in, err, c.want)
		}
	}
	for _, in := range []string{
		strings.Replace(good, `"l":[{"x":true,"y":false,"m":{"k":1},"s":["z"]}],`, "", 1),
		strings.Replace(good, `{"phases":[{"n":2},{}]}`, "null", 1),
	} {
		if err := s.Validate([]byte(in)); err != nil {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"## report.json", "## other", "no heading"},
		{"| number | |", "| integer | |", `type "integer" is none`},
		{"| `l[]` | objects or absent | |\n", "", "l is not in the table before it"},
		{"`b`, `c`", "`a`, `c`", "a: it is there twice"},
	} {
		in := strings.Replace(page, c.old, c.new, 1)
		if _, err := Parse([]byte(in)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
	if _, err := Parse([]byte("\n## report.json\n\nnothing\n")); err == nil {
		t.Error("no error for a page without a table")
	}
}
