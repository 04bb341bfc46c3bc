package main

func Example() {
	main()
	// Output:
	// model clouds: training
	// model clouds: created, 64 lists of 32 dimensions, sq
	// from clouds: trained true, 64 lists; nearest: point-0
	// in use: true cyborgdb: delete model: the model is in use by made
	// from clouds: trained true, 64 lists; nearest: point-0
}
