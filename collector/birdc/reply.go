// SPDX-License-Identifier: Apache-2.0

package birdc

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Reply codes of BIRD (doc/reply_codes in its source): 0xxx done, 1xxx a table row, 2xxx a
// table heading, 8xxx a run-time error, 9xxx a parse error.
const (
	codeWelcome        = 1
	codeProtocol       = 1002
	codeProtocolDetail = 1006
	codeTableCount     = 1007 // of "show route count"; the total over tables is 14
	codeMemory         = 1018
	codeBFD            = 1020 // of "show bfd sessions"
	firstErrorCode     = 8000
	codeParseError     = 9001
)

// Line is one line of a reply.
type Line struct {
	Code int
	Text string // without the code
}

// Reply is BIRD's whole answer to a command.
type Reply struct {
	Code  int // of the last line, which ends the reply
	Lines []Line
}

// Text is the text of all lines.
func (r *Reply) Text() string {
	var b strings.Builder
	for _, l := range r.Lines {
		b.WriteString(l.Text)
		b.WriteByte('\n')
	}
	return b.String()
}

func (r *Reply) last() string {
	if len(r.Lines) == 0 {
		return ""
	}
	return r.Lines[len(r.Lines)-1].Text
}

// CommandError says that BIRD did not carry out a command.
type CommandError struct {
	Command string
	Code    int    // 8xxx: run-time error, 9xxx: the command was not understood
	Text    string // BIRD's words
}

func (e *CommandError) Error() string {
	return fmt.Sprintf("send command %q: BIRD replied %04d %s", e.Command, e.Code, e.Text)
}

// readReply reads lines up to the one that ends a reply. They look like
//
//	1002-text   with more to come
//	 text       the same code as before
//	0000 text   the last one; its text may be empty
//	+text       out of turn, from a log that is echoed: not part of the reply
func readReply(r *bufio.Reader) (*Reply, error) {
	reply := &Reply{}
	size, code := 0, -1
	for {
		b, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, fmt.Errorf("read reply: line longer than %d bytes", r.Size())
		}
		if err != nil {
			if err == io.EOF && len(b) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("read reply: %w", err)
		}
		if size += len(b); size > maxReply {
			return nil, fmt.Errorf("read reply: longer than %d bytes", maxReply)
		}
		line := strings.TrimRight(string(b), "\r\n")
		last := false
		switch {
		case strings.HasPrefix(line, "+"):
			continue
		case strings.HasPrefix(line, " ") && code >= 0:
			line = line[1:]
		default:
			n, sep, ok := parseCode(line)
			if !ok {
				return nil, fmt.Errorf("read reply: line %q has no code", cut(line))
			}
			code, line, last = n, line[5:], sep == ' '
		}
		reply.Lines = append(reply.Lines, Line{Code: code, Text: line})
		if last {
			reply.Code = code
			return reply, nil
		}
	}
}

// parseCode reads the four digits at the start of a line and the character after them,
// '-' or ' '.
func parseCode(line string) (code int, sep byte, ok bool) {
	if len(line) < 5 || (line[4] != '-' && line[4] != ' ') {
		return 0, 0, false
	}
	for i := range 4 {
		if line[i] < '0' || line[i] > '9' {
			return 0, 0, false
		}
		code = code*10 + int(line[i]-'0')
	}
	return code, line[4], true
}

// cut shortens a line for an error message.
func cut(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
