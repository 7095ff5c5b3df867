from benchmarks.faults.saving import main

main()
