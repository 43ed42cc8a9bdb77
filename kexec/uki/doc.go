// Package uki reads unified kernel images (UAPI.5 Unified Kernel Image): a PE
// image whose sections are a kernel, its initrd and its command line, in one
// profile or several. It says where they are and leaves the reading of the large
// ones to the caller.
package uki
