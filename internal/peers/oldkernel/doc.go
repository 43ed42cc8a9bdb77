// Package oldkernel runs tests as on Linux 6.1, the kernel of Debian 12, by a seccomp
// filter (seccomp(2)) that answers as it would to what came later. It is for tests.
package oldkernel
