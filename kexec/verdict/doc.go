// Package verdict is what the checks of package preflight say, for those who only
// read it: it needs none of what the checks read kernels with.
package verdict
