// SPDX-License-Identifier: Apache-2.0

package debuginfod

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"leakprof/profiler/symbol"
)

// fixture builds a program with a build ID, and returns its path and that.
func fixture(t *testing.T) (path, buildID string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "prog")
	gcc := exec.Command("gcc", "-g", "-Wl,--build-id", "-x", "c", "-o", path, "-")
	gcc.Stdin = strings.NewReader("int main(void) { return 0; }\n")
	if out, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("%v: apt-get install -y gcc\n%s", err, out)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := symbol.Open(f, "prog")
	if err != nil {
		t.Fatal(err)
	}
	return path, m.BuildID()
}

func TestFetch(t *testing.T) {
	path, id := fixture(t)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// One with DWARF of its own looks for no debug file.
	stripped := path + "-stripped"
	if out, err := exec.Command("strip", "-o", stripped, path).CombinedOutput(); err != nil {
		t.Fatalf("%v: apt-get install -y binutils\n%s", err, out)
	}
	answer := func(status int, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/base/buildid/"+id+"/debuginfo" {
				t.Errorf("asked for %s", r.URL.Path)
			}
			w.WriteHeader(status)
			w.Write(body)
		}
	}
	good, none := answer(http.StatusOK, file), answer(http.StatusNotFound, nil)
	cut := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		w.Write(file[:100])
	}
	wrong := bytes.Replace(file, []byte("GNU\x00"), []byte("GNU\x01"), -1) // no note of ours
	tests := []struct {
		name    string
		servers []http.HandlerFunc
		err     string
	}{
		{"one", []http.HandlerFunc{good}, ""},
		{"the second has it", []http.HandlerFunc{none, good}, ""},
		{"the first is broken", []http.HandlerFunc{answer(http.StatusInternalServerError, nil), good}, ""},
		{"none has it", []http.HandlerFunc{none, none}, ErrNotFound.Error()},
		{"no servers", nil, ErrNotFound.Error()},
		{"broken", []http.HandlerFunc{none, answer(http.StatusBadGateway, nil)}, "502 Bad Gateway"},
		{"cut short", []http.HandlerFunc{cut}, "unexpected EOF"},
		{"no ELF", []http.HandlerFunc{answer(http.StatusOK, []byte("<html>"))}, "open file: "},
		{"another build ID", []http.HandlerFunc{answer(http.StatusOK, wrong)}, `the file's build ID is ""`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var urls []string
			for _, h := range test.servers {
				s := httptest.NewServer(h)
				defer s.Close()
				urls = append(urls, s.URL+"/base/")
			}
			cache := filepath.Join(t.TempDir(), "a", "cache")
			got, err := Fetch(context.Background(), urls, cache, id)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want %q", err, test.err)
				}
				if errors.Is(err, ErrNotFound) != (test.err == ErrNotFound.Error()) {
					t.Errorf("%v is ErrNotFound: %v", err, errors.Is(err, ErrNotFound))
				}
				if left, err := os.ReadDir(cache); len(left) > 0 || err != nil {
					t.Errorf("left in the cache: %v, %v", left, err)
				}
				return
			}
			if want := filepath.Join(cache, id, "debuginfo"); got != want || err != nil {
				t.Fatalf("got %s, %v, want %s", got, err, want)
			}
			if b, err := os.ReadFile(got); err != nil || !bytes.Equal(b, file) {
				t.Errorf("%d bytes, %v, want %d", len(b), err, len(file))
			}
			if left, err := os.ReadDir(filepath.Dir(got)); len(left) != 1 || err != nil {
				t.Errorf("in the cache: %v, %v", left, err)
			}
			m, err := func() (*symbol.Module, error) {
				f, err := os.Open(stripped)
				if err != nil {
					return nil, err
				}
				defer f.Close()
				return symbol.Open(f, "prog")
			}()
			if err != nil {
				t.Fatal(err)
			}
			if used, err := m.FindDebugFile("/opt/prog", symbol.Places{Cache: cache}); used != got || err != nil {
				t.Errorf("used %q, %v, want %q", used, err, got)
			}
		})
	}
}

func TestFetchBadBuildID(t *testing.T) {
	for _, id := range []string{"", "../../etc", "abc"} {
		if _, err := Fetch(context.Background(), nil, t.TempDir(), id); err == nil || !strings.Contains(err.Error(), "is no build ID") {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestCache(t *testing.T) {
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, ".debuginfod_client_cache"), 0o700); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, path, xdg, home, want string }{
		{"own variable", "/a", "/b", "/c", "/a"},
		{"cache of all programs", "", "/b", "/c", "/b/debuginfod_client"},
		{"home", "", "", "/c", "/c/.cache/debuginfod_client"},
		{"as it was", "", "", home, home + "/.debuginfod_client_cache"},
		{"none", "", "", "", ""},
	}
	for _, test := range tests {
		t.Setenv("DEBUGINFOD_CACHE_PATH", test.path)
		t.Setenv("XDG_CACHE_HOME", test.xdg)
		t.Setenv("HOME", test.home)
		if got := Cache(); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	t.Setenv("DEBUGINFOD_URLS", " http://a/  https://b ")
	if got := Servers(); len(got) != 2 || got[0] != "http://a/" || got[1] != "https://b" {
		t.Errorf("servers %q", got)
	}
}

// TestCommand: it names a server where the environment names none, without which
// the client says no more than "Function not implemented".
func TestCommand(t *testing.T) {
	for urls, want := range map[string]string{
		"":                   "DEBUGINFOD_URLS=https://debuginfod.debian.net debuginfod-find debuginfo ab",
		"http://127.0.0.1:1": "debuginfod-find debuginfo ab",
	} {
		t.Setenv("DEBUGINFOD_URLS", urls)
		if got := Command("ab"); got != want {
			t.Errorf("%q: %s, want %s", urls, got, want)
		}
	}
}
