// Package recipe writes down what of a unit's fd store no kernel carries and
// is made anew on the other side: a file, a listening or bound socket, or one more
// open file description of a memfd that is carried. A description is JSON in a
// sealed memfd, which travels as any other file. It is read strictly: what it is
// made of decides what a program with all privileges opens and binds. The package
// knows the text and opens nothing.
package recipe
