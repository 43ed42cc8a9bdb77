// Package busconn is a connection to a message bus for a program that anybody may send
// messages to. Unlike the library's, it looks at a message's size and header before it
// reads more, owns every descriptor that comes with one, and gives up a message that
// can't be decoded and not the connection. What is read is bounded: a body is decoded
// only when whoever handles it has found its signature to be the one that it expects.
package busconn
