// Command newapp only makes an application: what a package that starts one compiles of ours for that alone.
package main

import (
	"fmt"

	"thalweg/runtime"
)

func main() {
	app, err := runtime.New(nil, runtime.Config{})
	fmt.Println(app, err)
}
