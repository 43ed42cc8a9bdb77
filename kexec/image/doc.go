// Package image reads Linux kernel images: bzImage for x86-64, and Image,
// Image.gz and the EFI zboot image for arm64. It tells what an image says of
// itself, unpacks its payload with a bound on what that may take, and finds in it
// the configuration and the handover formats that a live update depends on. It
// trusts no byte of a file and changes nothing.
package image
