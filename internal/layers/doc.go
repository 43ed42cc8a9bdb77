// Package layers has a test that keeps the dependencies of all packages pointing downwards.
// It has no code. Whoever adds an import that the test refuses either puts the code
// elsewhere, or changes the rule and says why.
package layers
