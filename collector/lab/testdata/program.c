// SPDX-License-Identifier: Apache-2.0
void say(const char *what);

int main(void) {
	say("main\n");
	return 0;
}
