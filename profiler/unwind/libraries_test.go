// SPDX-License-Identifier: Apache-2.0

package unwind

import (
	"os"
	"path/filepath"
	"testing"
)

const libDir = "/lib/x86_64-linux-gnu/"

// TestLibraries compares what BIRD loads, and what else a Debian 12 with gcc and
// clang has, with readelf.
func TestLibraries(t *testing.T) {
	for _, lib := range []struct{ path, pkg string }{
		{libDir + "libc.so.6", "libc6"}, // signal frame, vfork, setcontext
		{libDir + "ld-linux-x86-64.so.2", "libc6"},
		{libDir + "libm.so.6", "libc6"},
		{libDir + "libpthread.so.0", "libc6"},
		{libDir + "libgcc_s.so.1", "libgcc-s1"}, // return addresses in rcx
		{libDir + "libstdc++.so.6", "libstdc++6"},
		{libDir + "libcrypto.so.3", "libssl3"}, // hand-written CFI
		{libDir + "libssl.so.3", "libssl3"},
		{libDir + "libgcrypt.so.20", "libgcrypt20"}, // registers saved by expressions
		{libDir + "libssh-gcrypt.so.4", "libssh-gcrypt-4"},
		{libDir + "libreadline.so.8", "libreadline8"},
		{libDir + "libtinfo.so.6", "libtinfo6"},
		{libDir + "libncursesw.so.6", "libncursesw6"},
		{libDir + "libz.so.1", "zlib1g"},
		{libDir + "liblzma.so.5", "liblzma5"},
		{libDir + "libzstd.so.1", "libzstd1"},
		{libDir + "libgmp.so.10", "libgmp10"},
		{"/bin/bash", "bash"},
		{"/usr/bin/readelf", "binutils"},
	} {
		t.Run(filepath.Base(lib.path), func(t *testing.T) {
			t.Parallel()
			if _, err := os.Stat(lib.path); err != nil {
				t.Fatalf("apt-get install -y %s: %v", lib.pkg, err)
			}
			compareWithReadelf(t, lib.path)
		})
	}
}
