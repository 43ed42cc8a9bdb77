// Package packaging is what distributions need of luod; there is no program in it. Its tests run the maintainer scripts of
// the Debian package with a luoctl, a systemctl and a root of their own. What dpkg and a real PID 1 make of them is tested in
// vmtest/systemdtest.
package packaging
