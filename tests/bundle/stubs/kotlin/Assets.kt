package android.content.res

import java.io.InputStream

class AssetManager {
    fun open(path: String): InputStream = stubs.nothing()
}
