// Command luoctl is how an admin talks to luod: what it holds, which kernel is
// loaded, and the live update itself. Everything goes over the system bus, so
// polkit decides who may do what. luoctl(1) is its manual.
package main
