// Package compose tests examples/compose.yaml and examples/Dockerfile without
// Docker: it carries out the steps of the Dockerfile in a temporary directory, and
// runs the services as the image would. It is a module of its own because it
// needs a YAML decoder.
package compose
