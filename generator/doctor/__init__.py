"""What on this machine would make a build, or the compiler, fail later."""
