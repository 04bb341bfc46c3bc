package main

func Example() {
	main()
	// Output:
	// item_1 at 0.006: Alice, age 30, contents "Hello!"
	// item_2 at 0.386: Bob, age 41, contents "\xca\xfe"
	// got 1: item_2 holds text: false, bytes: cafe
	// deleted 1, left 1
	// another key: refused
	// DIMENSION_MISMATCH: needed 4, got 2
}
