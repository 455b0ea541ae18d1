// SPDX-License-Identifier: Apache-2.0
// A library that does its work before the program's entry point: it takes two
// signals and, when asked to, hangs or ends the process.
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int library_loaded = 1;

void say(const char *what) {
	if (write(1, what, strlen(what)) < 0)
		_exit(9);
}

static void handler(int sig) {
	say(sig == SIGTRAP ? "trap\n" : "signal\n");
}

__attribute__((constructor)) static void constructor(void) {
	signal(SIGUSR1, handler);
	signal(SIGTRAP, handler);
	raise(SIGUSR1);
	raise(SIGTRAP);
	if (getenv("LAB_TEST_HANG"))
		pause();
	if (getenv("LAB_TEST_EXIT"))
		_exit(7);
	say("constructor\n");
}
