// Package vmtest proves luod on real kernels and real systemd: each test boots a
// virtual machine of the lab with luod installed from its package, gives
// services memory, updates to another kernel and compares every byte. They need
// root and QEMU on amd64 and are skipped with -short. LUOD_TEST_ALL=1 adds the
// combinations that only repeat what others prove.
package vmtest
