// Package pe reads the section table of PE images, which is what unified kernel
// images, their addons and signed kernels are. It reads headers and nothing else,
// so that a hostile file costs neither time nor memory. Sections come in the
// file's order, several of one name included.
package pe
