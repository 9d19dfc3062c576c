package androidx.test.platform.app

import android.content.Context

class Instrumentation {
    val context: Context get() = stubs.nothing()
    val targetContext: Context get() = stubs.nothing()
}

object InstrumentationRegistry {
    @JvmStatic fun getInstrumentation(): Instrumentation = stubs.nothing()
}
