package main

func Example() {
	main()
	// Output:
	// 6000 items, training triggered: false
	// trained: true, 64 lists, queries answered meanwhile: true
	// trained anew: generation 2, 32 lists
	// INSUFFICIENT_VECTORS: needed 12000, got 6000
	// cancelled: true
	// still generation 2, 32 lists
}
