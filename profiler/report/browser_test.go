// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// browser is a headless Chromium with one page, driven by the DevTools protocol
// over two pipes: messages end with a zero byte
// (https://chromedevtools.github.io/devtools-protocol/, --remote-debugging-pipe).
type browser struct {
	t       *testing.T // of the subtest that uses the page
	in, out *os.File
	reader  *bufio.Reader
	session string
	id      int
	stderr  bytes.Buffer
	// What the page asked of the network, and what went wrong in it, since it was
	// opened.
	requests, troubles []string
}

// browserTimeout bounds one command on a loaded machine.
const browserTimeout = 20 * time.Second

func startBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v: apt-get install -y chromium", err)
	}
	b := &browser{t: t}
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	b.in, b.out, b.reader = in, out, bufio.NewReaderSize(out, 1<<20)
	// Its sandbox needs a user that is not root; what it opens is ours.
	c := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	c.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4
	c.Stderr = &b.stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	t.Cleanup(func() {
		b.t = t
		b.session = ""
		b.call("Browser.close", nil, nil) // and with it the children that write to its directory
		c.Wait()
		in.Close()
		out.Close()
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Network", "Log"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

type message struct {
	ID     int             `json:"id,omitempty"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
	Session string `json:"sessionId,omitempty"`
}

// call sends a command and waits for its result; events on the way are kept.
func (b *browser) call(method string, params map[string]any, result any) {
	b.t.Helper()
	if params == nil {
		params = map[string]any{}
	}
	raw, err := json.Marshal(params)
	if err != nil {
		b.t.Fatal(err)
	}
	b.id++
	sent, err := json.Marshal(message{ID: b.id, Method: method, Params: raw, Session: b.session})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(sent, 0)); err != nil {
		b.t.Fatalf("%s: %v\n%s", method, err, b.stderr.String())
	}
	if err := b.out.SetReadDeadline(time.Now().Add(browserTimeout)); err != nil {
		b.t.Fatal(err)
	}
	for {
		line, err := b.reader.ReadBytes(0)
		if err != nil {
			b.t.Fatalf("%s: %v\n%s", method, err, b.stderr.String())
		}
		var m message
		if err := json.Unmarshal(line[:len(line)-1], &m); err != nil {
			b.t.Fatalf("%s: %v in %s", method, err, line)
		}
		if m.ID == 0 {
			b.event(m)
			continue
		}
		if m.ID != b.id {
			continue
		}
		if m.Error != nil {
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				b.t.Fatalf("%s: %v in %s", method, err, m.Result)
			}
		}
		return
	}
}

func (b *browser) event(m message) {
	switch m.Method {
	case "Network.requestWillBeSent":
		var e struct{ Request struct{ URL string } }
		_ = json.Unmarshal(m.Params, &e) // an empty URL is told as well
		b.requests = append(b.requests, e.Request.URL)
	case "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded":
		b.troubles = append(b.troubles, string(m.Params))
	}
}

// open shows a file in a window of a width and colour scheme, and waits until
// the page has drawn itself.
func (b *browser) open(t *testing.T, path string, width int, scheme string) {
	t.Helper()
	b.t = t
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	b.prefer(scheme)
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	b.requests, b.troubles = nil, nil
	b.call("Page.navigate", map[string]any{"url": "file://" + path}, nil)
	b.until(fmt.Sprintf("location.href.endsWith(%q) && document.documentElement.dataset.ready", filepath.Base(path)))
}

// prefer sets the colour scheme.
func (b *browser) prefer(scheme string) {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{
		{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"},
	}}, nil)
}

// until waits for a condition of the page.
func (b *browser) until(condition string) {
	b.t.Helper()
	deadline := time.Now().Add(browserTimeout)
	for {
		// A frame later; while the page is still on its way there is none.
		if b.eval("new Promise(r => setTimeout(() => r(Boolean("+condition+")), 16))") == true {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("the page never had %s; troubles: %s; it has\n%s", condition, b.troubles, b.eval("document.body.innerText.slice(0, 2000)"))
		}
	}
}

// eval returns what an expression of the page is, as JSON has it.
func (b *browser) eval(expression string) any {
	b.t.Helper()
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &r)
	if r.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, r.ExceptionDetails.Exception.Description)
	}
	return r.Result.Value
}

// text is what a reader sees of an element, without space around it.
func (b *browser) text(selector string) string {
	b.t.Helper()
	s, ok := b.eval(fmt.Sprintf("document.querySelector(%q)?.innerText", selector)).(string)
	if !ok {
		b.t.Fatalf("the page has no %s", selector)
	}
	return strings.TrimSpace(s)
}

// texts are those of all elements.
func (b *browser) texts(selector string) (all []string) {
	b.t.Helper()
	for _, s := range b.eval(fmt.Sprintf("[...document.querySelectorAll(%q)].map(e => e.textContent)", selector)).([]any) {
		all = append(all, s.(string))
	}
	return all
}

// click presses the mouse in the middle of the element that an expression is,
// once it has come to rest there and nothing covers it.
func (b *browser) click(expression string) {
	b.t.Helper()
	place := fmt.Sprintf(`(() => { const e = %s; if (!e) return null; e.scrollIntoView({block: "center"}); const r = e.getBoundingClientRect(); const at = [r.x + r.width / 2, r.y + r.height / 2]; return document.elementFromPoint(...at) === e ? at : null; })()`, expression)
	b.until(fmt.Sprintf(`(at => { const same = at !== null && String(at) === String(window.clickAt); window.clickAt = at; return same; })(%s)`, place))
	at := b.eval("window.clickAt").([]any)
	for _, kind := range []string{"mouseMoved", "mousePressed", "mouseReleased"} {
		b.call("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1}, nil)
	}
}

// typeInto replaces what is in a field, as a keyboard does.
func (b *browser) typeInto(selector, text string) {
	b.t.Helper()
	b.eval(fmt.Sprintf("(e => { e.focus(); e.select(); })(document.querySelector(%q))", selector))
	if text == "" {
		for _, kind := range []string{"keyDown", "keyUp"} {
			b.call("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": "Delete", "code": "Delete", "windowsVirtualKeyCode": 46}, nil)
		}
		return
	}
	b.call("Input.insertText", map[string]any{"text": text}, nil)
}

// screenshot writes the whole page as a PNG file.
func (b *browser) screenshot(path string) {
	b.t.Helper()
	var size struct {
		CSSContentSize struct{ Width, Height float64 }
	}
	b.call("Page.getLayoutMetrics", nil, &size)
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true, "clip": map[string]any{
		"x": 0, "y": 0, "width": size.CSSContentSize.Width, "height": size.CSSContentSize.Height, "scale": 1,
	}}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
