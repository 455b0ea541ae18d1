// SPDX-License-Identifier: Apache-2.0

package structure

import (
	"bytes"
	"math/rand"
	"os"
	"testing"
	"time"
)

// patience is what one search of a small damaged file may take on a busy
// machine. A real hang takes for ever.
const patience = 20 * time.Second

// FuzzFind: whatever the file, there is an error or findings, soon.
func FuzzFind(f *testing.F) {
	data := fixtureBytes(f)
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add(data[:64])
	f.Fuzz(func(t *testing.T, data []byte) { findSoon(t, data) })
}

func findSoon(t *testing.T, data []byte) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if found, err := Find(bytes.NewReader(data)); err == nil && found == nil {
			panic("neither findings nor an error")
		}
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("no result in time")
	}
}

func fixtureBytes(tb testing.TB) []byte {
	tb.Helper()
	path := buildFixture(tb, 3, variant{"gcc", "-O2 -s", true})
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// TestDamaged cuts a file short and changes bytes of it, at random places that
// are the same in each run.
func TestDamaged(t *testing.T) {
	data := fixtureBytes(t)
	random := rand.New(rand.NewSource(1))
	rounds := 150
	if testing.Short() {
		rounds = 30
	}
	for i := 0; i < rounds; i++ {
		findSoon(t, data[:random.Intn(len(data))])
		bad := bytes.Clone(data)
		for n := 1 + random.Intn(16); n > 0; n-- {
			bad[random.Intn(len(bad))] = byte(random.Intn(256))
		}
		findSoon(t, bad)
		// Headers decide most: change one word of the first 4 KiB.
		at := random.Intn(512) * 8
		copy(bad[at:], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, byte(random.Intn(256))})
		findSoon(t, bad)
	}
}
