// SPDX-License-Identifier: Apache-2.0
#pragma once

#define NOINLINE __attribute__((noinline))
#define ALWAYS __attribute__((always_inline)) inline
// With link-time optimisation the five levels alternate between two files.
#ifdef LTO
#define ACROSS __attribute__((always_inline))
#else
#define ACROSS NOINLINE
#endif

void *sink(long size);
void fatal(int code) __attribute__((noreturn));
int across1(int n);
int across2(int n);
int across3(int n);
int across4(int n);
int across5(int n);
int across(int n);
int assembled(int n);
